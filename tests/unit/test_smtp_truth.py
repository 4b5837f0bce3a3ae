"""What the server says is what it did: logs, sizes, refusals, and no words of an exception."""

from __future__ import annotations

import base64
import io
import os
import re
import smtplib
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from smtp_support import Wire, body, hung_up, serving, stored, unchanged_for_long

from maildir_safe import Maildir, Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.backends.maildir_store import MaildirStore
from maildir_safe._smtp.faults.faults import Fault, Faults
from maildir_safe._smtp.protocol import auth, trace
from maildir_safe._smtp.protocol.auth import hash_password
from maildir_safe._smtp.server import receiving, session
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.counters import Counters
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.settings import Settings

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


class Full(io.StringIO):
    """A log on a disk that is full, or that nobody reads any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:  # noqa: ARG002
        raise self._error


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("I/O on closed file")]
)
def test_an_unwritable_log_never_changes_the_answer(tmp_path: Path, error: Exception) -> None:
    settings = Settings(maildir=str(tmp_path / "M"), smtp=["127.0.0.1:0"])
    log = MessageLog(Full(error))
    with BackgroundServer(settings, log=log) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(MESSAGE + b".").startswith("250")
        assert wire.ask("MAIL FROM:<\x01>").startswith("553")
        assert wire.ask("NOOP").startswith("250")
    assert len(stored(tmp_path / "M")) == 1
    assert log.lost == 2


@pytest.mark.parametrize("broken", [(Counters, "message"), (MessageLog, "message")])
def test_nothing_after_the_store_changes_the_answer(
    tmp_path: Path, broken: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(*broken, fail)
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(MESSAGE + b".").startswith("250")
    assert len(stored(tmp_path / "M")) == 1


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (session, "parse_sender"),
        (session, "greeting"),
        (MaildirStore, "locate"),
        (MaildirStore, "store"),
        (trace, "received"),
        (receiving, "_read"),
        (auth, "credentials"),
        (session.SmtpSession, "_check_order"),
    ],
)
def test_an_unforeseen_exception_is_451_without_its_words(
    tmp_path: Path, place: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("/secret/path")

    with serving(tmp_path) as server:
        monkeypatch.setattr(place, name, fail)
        wire = Wire(server.service.smtp_addresses[0])
        wire.send(b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        wire.send(MESSAGE + b".\r\nQUIT\r\n")
        said = []
        try:
            while reply := wire.reply():
                said.append(reply)
        except ConnectionError:
            pass
        monkeypatch.undo()
        assert "451 4.3.0 Internal error, try again later" in said
        assert not any("secret" in reply or "Lookup" in reply for reply in said)
        assert "/secret/path" in server.text.getvalue()  # type: ignore[attr-defined]
    assert len(stored(tmp_path / "M")) == sum("Stored as" in reply for reply in said)


def test_a_stored_message_whose_answer_was_dropped_is_logged_so(tmp_path: Path) -> None:
    faults = Faults([Fault(stage="stored", drop=True, times=1), Fault(stage="stored", reply="452 4.2.2 No")])
    with serving(tmp_path, faults) as server:
        for _ in range(2):
            wire = Wire(server.service.smtp_addresses[0])
            wire.ready_for_data()
            wire.send(MESSAGE + b".\r\n")
            assert hung_up(wire) or True
        first, second = server.text.getvalue().splitlines()  # type: ignore[attr-defined]
    assert " smtp stored " in first
    assert 'reply="(connection dropped by a scripted fault)"' in first
    assert 'reply="452 4.2.2 No"' in second


def test_refused_recipients_leave_a_trace(tmp_path: Path) -> None:
    faults = Faults(
        [Fault(stage="rcpt", match="no@*", reply="550 5.1.1 No"), Fault(stage="mail", match="x@*", drop=True)]
    )
    with serving(tmp_path, faults) as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("a@b", ["no@d", "c@d"], MESSAGE)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.mail("x@y")
        refused, message, dropped = server.text.getvalue().splitlines()  # type: ignore[attr-defined]
    assert 'refused command="RCPT TO:<no@d>' in refused.replace('peer="127.0.0.1" ', "")
    assert 'refused_recipients=["no@d"]' in message
    assert "dropped by a scripted fault" in dropped


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (b"x" * 996 + b"\r\n", 998),
        (b"x" * 998 + b"\r\n", 1000),
        (b"x" * 999 + b"\r\n", 1001),
        (b"..\r\n" * 333, 999),  # on the wire; a doubled dot counts once
        (b"..\r\n" * 334, 1002),
        (b"", 0),
    ],
)
def test_the_limit_is_of_the_message_itself(tmp_path: Path, text: bytes, size: int) -> None:
    """RFC 1870 counts neither the final dot nor doubled dots; a limit of 1,000 takes 1,000 octets."""
    with serving(tmp_path, max_size=1000) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        reply = wire.ask(text + b".")
        log = server.text.getvalue()  # type: ignore[attr-defined]
    assert reply[:3] == ("250" if size <= 1000 else "552")
    assert f" size={size} " in log


@pytest.mark.parametrize("exact", [65535, 65536, 65537, 131072, 131073, 200_000])
def test_the_limit_is_exact_where_messages_come_in_pieces(tmp_path: Path, exact: int) -> None:
    with serving(tmp_path, max_size=exact) as server:
        for more, code in ((0, "250"), (1, "552")):
            wire = Wire(server.service.smtp_addresses[0])
            wire.ready_for_data()
            assert wire.ask(b"x" * (exact - 2 + more) + b"\r\n.").startswith(code)
    (message,) = stored(tmp_path / "M")
    assert len(body(message)) == 1 + exact - 1  # an empty line, since it has no header


@pytest.mark.parametrize(
    "address",
    ["<@example.com>", "<a@>", "<a@b@c>", "<a@example..com>", "<a@[127.0.0.1>", "<a@127.0.0.1]>", "<a@[]>",
     "<a@.example.com>", '<"a@b>', "<a@b", "a@b>", '<"a"@b@c>', "<@>"],
)  # fmt: skip
def test_recipients_that_cannot_be_are_refused(tmp_path: Path, address: str) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask("MAIL FROM:<a@b>")
        assert wire.ask(f"RCPT TO:{address}")[:9] in ("553 5.1.3", "501 5.5.4")
        for good in ("<a@[127.0.0.1]>", "<a@[IPv6:::1]>", '<"a@b"@c>', "<root>", "<a@example.com.>"):
            assert wire.ask(f"RCPT TO:{good}").startswith("250"), good


@pytest.mark.parametrize("lmtp", [False, True])
@pytest.mark.parametrize("value", ["", "+", "+z", "+zz", "+2", "+20", "+20+09", "a+0Ab", "+FF"])
def test_an_envid_that_is_blank_or_malformed_is_501(tmp_path: Path, value: str, lmtp: bool) -> None:
    """An empty id would make all messages one."""
    with serving(tmp_path, lmtp=["127.0.0.1:0"]) as server:
        service = server.service
        wire = Wire((service.lmtp_addresses if lmtp else service.smtp_addresses)[0])
        wire.ask("LHLO x" if lmtp else "EHLO x")
        assert wire.ask(f"MAIL FROM:<a@b> ENVID={value}").startswith("501 5.5.4")
        assert wire.ask("MAIL FROM:<a@b> ENVID").startswith("501 5.5.4")


@pytest.mark.parametrize("command", ["MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "VRFY a", "HELP", "EXPN a"])
def test_before_auth_nothing_but_the_way_to_it(tmp_path: Path, command: str) -> None:
    """RFC 4954 4: 530."""
    (tmp_path / "passwords").write_text(f"a:{hash_password('x')}\n")
    with serving(tmp_path, auth=str(tmp_path / "passwords")) as server:
        wire = Wire(server.service.smtp_addresses[0])
        for ok in ("NOOP", "EHLO x", "RSET"):
            assert wire.ask(ok).startswith("250")
        assert wire.ask(command) == "530 5.7.0 Authentication required"
        plain = base64.b64encode(b"b\0a\0x").decode()
        assert wire.ask(f"AUTH PLAIN {plain}").startswith("535 5.7.8")  # a acts for nobody else
        assert wire.ask("AUTH").startswith("501")
        same = base64.b64encode(b"a\0a\0x").decode()
        assert wire.ask(f"AUTH PLAIN {same}").startswith("235")
        assert wire.ask("HELP").startswith("214")


@pytest.mark.parametrize(
    ("folder", "address"),
    [
        ("example.com/ö", "ö@example.com"),
        ("example.com/ö", "Ö@example.com"),
        ("example.com/o'brien", "O'Brien@example.com"),
        ("example.com/bob", '"bob"@example.com'),
        ("xn--bcher-kva.example/bob", "bob@bücher.example"),
        ("bücher.example/bob", "bob@xn--bcher-kva.example"),
    ],
)
def test_a_mailbox_that_exists_takes_mail(tmp_path: Path, folder: str, address: str) -> None:
    mailbox = tmp_path / "mail" / folder
    mailbox.parent.mkdir(parents=True)
    Maildir(mailbox)
    unchanged_for_long(mailbox.parent)
    unchanged_for_long(tmp_path / "mail")
    with serving(tmp_path, map=f"{tmp_path}/mail/{{domain}}/{{local}}") as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert "250-SMTPUTF8" in wire.ask("EHLO x")
        assert wire.ask("MAIL FROM:<a@b> SMTPUTF8").startswith("250")
        assert wire.ask("RCPT TO:<\u212a@example.com>").startswith("550 5.1.1")
        assert wire.ask(f"RCPT TO:<{address}>").startswith("250")
        assert wire.ask("DATA").startswith("354")
        assert wire.ask(MESSAGE + b".").startswith("250")
    (message,) = stored(mailbox)
    assert f"Delivered-To: {address}\n".encode() in message


def test_one_message_for_many_mailboxes_is_held_once(tmp_path: Path) -> None:
    """24 MiB for 100 mailboxes took 3 GB: a copy each."""
    names = [f"box{n}" for n in range(30)]
    for name in names:
        Maildir(tmp_path / name)
    size = 8 * 1024 * 1024
    message = b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * (size // 1000) + b".\r\n"
    with serving(tmp_path, map=f"{tmp_path}/{{local}}") as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data("a@b", *(f"{name}@example.com" for name in names))
        tracemalloc.start()
        try:
            wire.send(message)
            assert wire.reply().startswith("250")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert server.service.budget.in_flight == 0
    assert peak < 1.5 * size
    copies = [stored(tmp_path / name) for name in names]
    assert all(len(copy) == 1 and len(body(copy[0])) > size * 0.99 for copy in copies)


@pytest.mark.parametrize("quiet", [True, False])
def test_strangers_who_guess_addresses_do_not_list_the_directory_each_time(
    tmp_path: Path, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, listdir = [], OsFileSystem.listdir

    def counting(self: OsFileSystem, fd: int) -> list[str]:
        listed.append(fd)
        return listdir(self, fd)

    (tmp_path / "mail").mkdir()
    Maildir(tmp_path / "mail" / "alice")
    if quiet:
        unchanged_for_long(tmp_path / "mail")
    else:
        later = time.time() + 3600  # however long this takes, it changed just now
        os.utime(tmp_path / "mail", (later, later))
    with serving(tmp_path, map=f"{tmp_path}/mail/{{local}}") as server:
        monkeypatch.setattr(OsFileSystem, "listdir", counting)
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask("MAIL FROM:<>")
        codes = {wire.ask(f"RCPT TO:<nobody{n}@example.com>")[:9] for n in range(50)}
    assert codes == {"550 5.1.1" if quiet else "450 4.2.1"}
    assert len(listed) <= 2


def test_no_reply_names_aiosmtpd_or_python(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        said = [wire.banner] + [wire.ask(line) for line in ("EHLO x", "FOO", "HELP", "VRFY x", "MAIL", "")]
    assert not re.search("python|aiosmtpd", " ".join(said), re.IGNORECASE)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b" folded: no\r\n\r\nx\r\n", b"\n folded: no\n\nx\n"),
        (b"\tfolded: no\r\n", b"\n\tfolded: no\n"),
        (b"\r\nbody alone\r\n", b"\nbody alone\n"),
        (b"From a@b Thu Jan  1 00:00:00 1970\r\nSubject: s\r\n\r\nx\r\n", b"Subject: s\n\nx\n"),
        (b">From a\r\nSubject: s\r\n", b"X-Mailbox-Line: >From a\nSubject: s\n"),
        (b"hello world\r\nSubject: s\r\n", b"\nhello world\nSubject: s\n"),
        (b"Subject : s\r\n\r\nx\r\n", b"Subject : s\n\nx\n"),
        (b"From: a@b\r\n\r\nFrom here\r\n", b"From: a@b\n\nFrom here\n"),
        (b"", b""),
    ],
)
@pytest.mark.parametrize("queued", [False, True])
def test_no_first_line_joins_our_headers(tmp_path: Path, sent: bytes, kept: bytes, queued: bool) -> None:
    """It would continue our Received; and the line of a mailbox file (From_) is no header."""
    where = {"queue": str(tmp_path / "S")} if queued else {}
    with serving(tmp_path, **where) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        assert wire.ask(sent + b".").startswith("250")
    if queued:
        with Queue(tmp_path / "S", create=False) as queue:
            (claim,) = queue.claim()
            assert body(claim.read()) == kept
            claim.ack()
    else:
        (message,) = stored(tmp_path / "M")
        assert body(message) == kept
