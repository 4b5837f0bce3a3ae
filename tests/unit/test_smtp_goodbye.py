"""After a goodbye nothing is obeyed, however it came to that: a web page must not be able to send mail."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Wire, hung_up, serving, stored

from maildir_safe._smtp.faults.faults import Fault, Faults
from maildir_safe._smtp.server.session import MAX_JUNK, MAX_UNKNOWN

MAIL = (
    b"EHLO x\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<b@c>\r\nDATA\r\n"
    b"Subject: evil\r\n\r\nx\r\n.\r\nQUIT\r\n"
)
FORM = (
    b"POST / HTTP/1.1\r\nHost: localhost:1025\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n"
    b"a=b\r\n"
)
FETCH = b"GET /?EHLO HTTP/1.1\r\nHost: localhost:1025\r\nAccept: */*\r\n\r\n"


def replies_to(wire: Wire, data: bytes) -> list[str]:
    """All that is said until the end of the connection."""
    found = []
    with contextlib.suppress(ConnectionError):
        wire.send(data)
        while reply := wire.reply():
            found.append(reply)
    return found


@pytest.mark.parametrize("lmtp", [False, True])
@pytest.mark.parametrize(
    "before",
    [
        FORM, FETCH, b"CONNECT x:25 HTTP/1.1\r\n", b"HEAD / HTTP/1.0\r\n", b"Host: x\r\n",
        b"XYZ / HTTP/1.1\r\n", b"x\r\n" * MAX_UNKNOWN, b"\x16\x03\x01\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n", (b"a" * 5000 + b"\r\n") * MAX_UNKNOWN,
        b"\x16\x03\x01\x0b\xb8" + b"a" * 3000 + b"\r\n",  # TLS: a page chose the name and the ticket in it
    ],
)  # fmt: skip
def test_a_web_page_cannot_send_mail(tmp_path: Path, before: bytes, lmtp: bool) -> None:
    kind = "lmtp" if lmtp else "smtp"
    with serving(tmp_path, **{"smtp": [], kind: ["127.0.0.1:0"]}) as server:
        address = getattr(server.service, f"{kind}_addresses")[0]
        with (smtplib.LMTP if lmtp else smtplib.SMTP)("127.0.0.1", int(address.rpartition(":")[2])) as client:
            client.sendmail("a@b", ["c@d"], "from a program")  # from now on its Maildir is open
        wire = Wire(address)
        found = replies_to(wire, before + MAIL.replace(b"EHLO", b"LHLO" if lmtp else b"EHLO"))
        assert found[-1:] == [] or found[-1].startswith("421 4.7.0")
        assert not any(reply.startswith(("2", "354")) for reply in found)
    (message,) = stored(tmp_path / "M")
    assert b"from a program" in message


def test_a_form_in_pieces_cannot_either(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        with contextlib.suppress(ConnectionError):
            for byte in FORM + MAIL:
                wire.send(bytes([byte]))
        assert wire.reply()[:3] in ("421", "")
    assert stored(tmp_path / "M") == []


def test_nothing_is_obeyed_after_quit(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        found = replies_to(Wire(server.service.smtp_addresses[0]), b"QUIT\r\n" + MAIL)
        assert found in (["221 2.0.0 Bye"], [])
    assert stored(tmp_path / "M") == []


@contextlib.contextmanager
def encrypted(server: object) -> Iterator[ssl.SSLSocket]:
    service = server.service  # type: ignore[attr-defined]
    wire = Wire(service.smtp_addresses[0])
    wire.ask("EHLO x")
    assert wire.ask("STARTTLS").startswith("220")
    context = ssl.create_default_context(cafile=service.ca)
    with context.wrap_socket(wire.sock, server_hostname="localhost") as tls:
        yield tls


@pytest.mark.parametrize("goodbye", [b"QUIT\r\n", FORM, b"x\r\n" * MAX_UNKNOWN])
def test_nothing_is_obeyed_after_a_goodbye_over_tls(tmp_path: Path, goodbye: bytes) -> None:
    with serving(tmp_path, tls="made") as server, encrypted(server) as tls:
        said = b""
        with contextlib.suppress(OSError):
            tls.sendall(goodbye + MAIL)
            while data := tls.recv(1000):
                said += data
        assert b"354" not in said
        assert said.count(b"421") + said.count(b"221") <= 1
    assert stored(tmp_path / "M") == []


def test_the_goodbye_after_unknown_commands_is_421(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        codes = [wire.ask("WHAT is this")[:3] for _ in range(MAX_UNKNOWN)]
        assert codes == ["500"] * (MAX_UNKNOWN - 1) + ["421"]
        assert hung_up(wire)


def test_commands_without_mail_are_counted_and_mail_forgives_them(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        for _ in range(MAX_JUNK - 1):
            assert wire.ask("NOOP").startswith("250")
        wire.ready_for_data()
        assert wire.ask("Subject: x\r\n\r\n.").startswith("250")
        for _ in range(MAX_JUNK):
            assert wire.ask("NOOP").startswith("250")
        assert wire.ask("NOOP").startswith("421 4.7.0")
        assert hung_up(wire)


@pytest.mark.parametrize("command", [b"EHLO x", b"NOOP", b"VRFY a", b"HELP", b"WHAT"])
def test_only_rset_mail_and_rcpt_may_be_answered_later(tmp_path: Path, command: bytes) -> None:
    """RFC 2920 3.2. The next command is here already, and takes for ever."""
    faults = Faults([Fault(stage="mail", delay=3600)])
    with serving(tmp_path, faults, grace=0) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.send(command + b"\r\nMAIL FROM:<a@b>\r\n")
        assert wire.reply()[:1] in ("2", "5")
        wire.sock.shutdown(socket.SHUT_RDWR)


def test_smtplib_still_says_goodbye_in_order(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = smtplib.SMTP(server.host, server.port)
        assert client.quit()[0] == 221
