"""Hostile input over real sockets: nothing is smuggled, nothing grows without bound, nothing leaks."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st
from smtp_support import Wire, body, hung_up, serving, stored

from maildir_safe._smtp.protocol.data import DataDecoder
from maildir_safe._smtp.protocol.trace import client_name, received
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.session import MAX_ERRORS

NOT_THE_END = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n",
    b"\n.\r", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n..\r\n", b"\r\n. \r\n",
]  # fmt: skip


@pytest.mark.parametrize("almost", NOT_THE_END)
def test_only_crlf_dot_crlf_ends_a_message(tmp_path: Path, almost: bytes) -> None:
    """SMTP smuggling: what looks like an end to a careless server stays one message here."""
    smuggled = b"MAIL FROM:<ceo@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nevil\r\n"
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(b"first" + almost + smuggled + b".").startswith("250")
        assert wire.ask("NOOP").startswith("250")
    (message,) = stored(tmp_path / "M")
    assert b"Return-Path: <a@example.com>" in message
    assert b"MAIL FROM:<ceo@example.com>\nRCPT TO" in message


def wire_form(lines: list[bytes]) -> bytes:
    """What a correct client sends for a message of these lines (RFC 5321 4.5.2)."""
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def _read(data: bytes, step: int, piece: int) -> tuple[bytes, bytes, int]:
    """The message as decoded, what is left, and its size, when `step` bytes come at a time."""
    buffer, text, start = bytearray(), b"", 0
    decoder = DataDecoder(buffer, piece)
    while not decoder.ended:
        assert start < len(data)
        buffer += data[start : start + step]
        start += step
        while found := decoder.decode():
            text += found
            if decoder.ended:
                break
    return text, bytes(buffer) + data[start:], decoder.size


@pytest.mark.fuzz
@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.binary(max_size=30).filter(lambda line: b"\r\n" not in line), max_size=8),
    st.integers(1, 40),
    st.integers(6, 200),
)
@example([], 1, 6)
@example([b".", b"..", b""], 1, 6)
@example([b"\n.", b"\n.", b""], 2, 6)
def test_any_lines_come_back_however_the_wire_cuts_them(lines: list[bytes], piece: int, limit: int) -> None:
    """Framing is exact for any bytes, any segmentation, any buffer size, and takes no byte too many."""
    after = b"MAIL FROM:<next@example.com>\r\n"
    message, rest, size = _read(wire_form(lines) + after, piece, limit)
    assert message == b"".join(line + b"\n" for line in lines)
    assert rest == after
    assert size == sum(len(line) + 2 for line in lines)  # RFC 1870: no final dot, no doubled ones


def test_lines_of_any_length_and_nul_bytes(tmp_path: Path) -> None:
    long = b"x" * 1_000_000 + b"\0" + b"y" * 100_000
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(b"Subject: long\r\n\r\n" + long + b"\r\n.").startswith("250")
    (message,) = stored(tmp_path / "M")
    assert body(message) == b"Subject: long\n\n" + long + b"\n"


def test_bare_newlines_as_documented(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(b"a\nb\rc\r\n.\nd\r\n.").startswith("250")
    (message,) = stored(tmp_path / "M")
    assert body(message) == b"\na\nb\rc\n\nd\n"  # it has no header


@pytest.mark.parametrize("length", [3000, 2_000_000])
def test_a_command_line_that_is_too_long_ends_the_session(length: int, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert wire.ask(b"EHLO " + b"x" * length).startswith("421 4.7.0 Line too long")
        assert hung_up(wire)


@pytest.mark.parametrize(
    "command",
    [
        b"MAIL FROM:<a\rX-Evil: yes@b>",
        b"MAIL FROM:<a\x00@b>",
        b"MAIL FROM:<a@b\x7f>",
        b"MAIL FROM:<a@b>\xff=1",
    ],
)
def test_control_characters_in_commands(tmp_path: Path, command: bytes) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        assert wire.ask(command)[:3] in ("501", "553")
        log = server.text.getvalue()  # type: ignore[attr-defined]
    assert log.count("\n") == 1
    assert log[:-1].isprintable()
    assert log.isascii()


def test_a_greeting_cannot_forge_headers(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert wire.ask(b"EHLO x\rX-Evil: yes").startswith("501")
        assert wire.ask(b"EHLO x\x1b[2J").startswith("501")
        assert wire.ask("EHLO <script>(a) by trusted with ESMTPS; now").startswith("250")
        wire.ask("MAIL FROM:<>")
        wire.ask("RCPT TO:<b@c>")
        wire.ask("DATA")
        assert wire.ask(".").startswith("250")
    (message,) = stored(tmp_path / "M")
    assert b"from ?script??a??by?trusted?with?ESMTPS??now ([127.0.0.1])" in message


@pytest.mark.fuzz
@settings(deadline=None)  # a busy machine is no failure
@given(st.text(), st.text())
def test_received_is_three_lines_whatever_the_client_says(name: str, address: str) -> None:
    cleaned = client_name(name)
    header = received(cleaned, "::1", "mx.example", "ESMTP", address if address.isprintable() else None, 0)
    assert header.count(b"\n") <= 3
    assert header.startswith(b"Received: from ")
    assert len(cleaned) <= 255


def test_ten_thousand_recipients(tmp_path: Path) -> None:
    """A sender that overshoots by a thousand keeps its place (RFC 5321 4.5.3.1.10), and can go on."""
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask("MAIL FROM:<a@b>")
        codes = []
        for start in range(0, 1100, 100):
            wire.send(b"".join(b"RCPT TO:<%d@b>\r\n" % n for n in range(start, start + 100)))
            codes += [wire.reply()[:9] for _ in range(100)]
        assert codes == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 1000
        assert wire.ask("NOOP").startswith("250")
        with contextlib.suppress(OSError):
            while codes[-1][:3] == "452":
                codes.append(wire.ask("RCPT TO:<more@b>"))
        assert len(codes) <= 1100 + 100 + MAX_ERRORS + 1
        assert codes[-1].startswith("421 4.7.0")


def test_a_slow_sender_holds_a_connection_no_longer_than_the_timeout(tmp_path: Path) -> None:
    """Slow loris: a byte now and then does not count as progress."""
    with serving(tmp_path, timeout=4.0) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            _dribble(wire)
    assert stored(tmp_path / "M") == []


def _dribble(wire: Wire) -> None:
    for _ in range(400):  # 20 s at most: then nobody has cut us off
        wire.send(b"x")
        time.sleep(0.05)


def test_garbage_instead_of_commands_ends_the_connection(tmp_path: Path) -> None:
    """TLS where SMTP is expected: the client chooses many of those bytes, line ends among them."""
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.send(b"\x16\x03\x01\xff\xfe\r\nNOOP\r\n")
        assert wire.reply().startswith("421 4.7.0")
        assert hung_up(wire)
        assert Wire(server.service.smtp_addresses[0]).ask("NOOP").startswith("250")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundServer]:
    with serving(tmp_path_factory.mktemp("fuzz")) as server:
        yield server


@pytest.mark.fuzz
@settings(deadline=None)  # a busy machine is no failure
@given(lines=st.lists(st.binary(max_size=60), max_size=8))
@example(lines=[b"AUTH PLAIN " + b"=" * 5000])
@example(lines=[b"AUTH LOGIN", b"*", b"AUTH LOGIN", b"=", b"\xff"])
def test_no_bytes_make_the_server_fail(server: BackgroundServer, lines: list[bytes]) -> None:
    """Random commands: every answer is a reply, and never our own internal error."""
    address = server.service.smtp_addresses[0]
    wire = Wire(address)
    with contextlib.suppress(OSError):  # five unknown commands end a connection
        for reply in _talk(wire, lines):
            assert reply[:3].isdigit()
            assert "Internal" not in reply
    wire.close()
    assert Wire(address).ask("NOOP") == "250 2.0.0 OK"
    assert "error" not in server.text.getvalue()  # type: ignore[attr-defined]


def _talk(wire: Wire, lines: list[bytes]) -> Iterator[str]:
    wire.send(b"EHLO x\r\n" + b"\r\n".join(lines) + b"\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    wire.send(b"\r\n".join(lines) + b"\r\n.\r\nQUIT\r\n")
    wire.sock.shutdown(socket.SHUT_WR)
    while reply := wire.reply():
        yield reply


@pytest.mark.parametrize("as_json", [False, True])
def test_no_terminal_escape_reaches_the_log(tmp_path: Path, as_json: bool) -> None:
    """Colours, window titles, C1 controls, bidirectional overrides: of commands, passwords and messages."""
    escapes = ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\u202e", "\x7f", "\r\x1b[1A"]
    with serving(tmp_path, log_json=as_json) as server:
        address = server.service.smtp_addresses[0]
        for escape in escapes:
            wire = Wire(address)
            for line in (
                f"EHLO {escape}",
                "EHLO x",
                f"MAIL FROM:<{escape}@b> SMTPUTF8",
                f"MAIL FROM:<a@b> X={escape}",
            ):
                wire.ask(line.replace("\r", ""))
            wire.ask("MAIL FROM:<é@b> SMTPUTF8")
            wire.ask(f"RCPT TO:<{escape}@b>".replace("\r", ""))
            wire.ask("RCPT TO:<c@d>")
            wire.ask("DATA")
            assert wire.ask(f"Subject: {escape}\r\n\r\n{escape}\r\n.").startswith("250")
            wire.close()
        log = server.text.getvalue()  # type: ignore[attr-defined]
    assert log.count("\n") >= 3 * len(escapes)
    for line in log.splitlines():
        assert line.isascii()
        assert line.isprintable()


@pytest.mark.parametrize(
    "address", ["../../../etc/cron.d/x@y", "/etc/passwd", "a/../../b@c", "~root@b", "a@../..", "b\\..\\c@d"]
)
@pytest.mark.parametrize("mapped", [False, True])
def test_an_address_is_no_path(tmp_path: Path, address: str, mapped: bool) -> None:
    """Over the wire, to one Maildir and to many: nothing is made outside."""
    (tmp_path / "mail/example.com").mkdir(parents=True)
    before = {path.name for path in tmp_path.iterdir()}
    where = {"map": f"{tmp_path}/mail/{{domain}}/{{local}}"} if mapped else {}
    with serving(tmp_path, **where) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        assert wire.ask("MAIL FROM:<a@b>").startswith("250")
        if wire.ask(f"RCPT TO:<{address}>").startswith("250"):
            assert not mapped
            assert wire.ask("DATA").startswith("354")
            assert wire.ask("x\r\n.").startswith("250")
    after = {path.name for path in tmp_path.iterdir()}
    assert after - before <= {"M"}
    assert list((tmp_path / "mail/example.com").iterdir()) == []
