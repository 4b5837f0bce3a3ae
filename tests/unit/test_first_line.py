"""A first line that is no header field never joins the headers that are put on top, by any door.

A folded-looking line would continue them, and after any other the fields below would be lost or believed.
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._mailboxes import Mailboxes
from maildir_safe._queue.store import envelope
from maildir_safe._smtp.backends.maildir_store import MaildirStore
from maildir_safe._smtp.backends.routing import CatchAll
from maildir_safe._smtp.backends.store import MailObject, Recipient
from maildir_safe._submission.message import Submitted
from maildir_safe.errors import PermanentError

FOLDED = [
    b" x-evil: 1\nSubject: s\n\nbody\n",
    b"\tfolded\n",
    b" \nSubject: blank first line\n\nbody\n",
    b"hello world\nSubject: s\n\nbody\n",
    b"hello world: no field\nSubject: s\n",
    b": no name\nSubject: s\n",
    b"caf\xc3\xa9: not ASCII\nSubject: s\n",
    b"nul\0: control\nSubject: s\n",
    b"one word\n",
    b"x" * 70_000 + b": too long\nSubject: s\n",
]
FIELDS = [
    b"Subject: s\n\nbody\n",
    b"Subject : blank before the colon\n\nbody\n",
    b"Subject\t \t: s\n folded\n\nbody\n",
    b"X-!#$%&'*+-.^_`|~/()<>@,;\\\"[]?={}: odd, but a field\nSubject: s\n\nbody\n",
    b"x:\n\nbody\n",
    b"Subject:s",
    b"X" * 900 + b": long\nSubject: s\n\n",
]
MBOX = [b"From a@b Tue Jan  3 00:00:00 2026\nSubject: s\n\nbody\n", b">From a@b\nSubject: s\n\nbody\n"]


def check(stored: bytes, folded: bytes) -> None:
    """The headers on top are what was put there, and all that was sent is the body."""
    assert stored.endswith(b"\n\n" + folded)
    message = message_from_bytes(stored)
    assert message["Return-Path"] == "<a@b>"
    assert message["Delivered-To"] in ("c@d", None)
    assert message["Subject"] is None
    assert "x-evil" not in str(message["Received"])


def one(path: Path) -> bytes:
    (file,) = (path / "new").iterdir()
    return file.read_bytes()


@pytest.mark.parametrize("folded", FOLDED)
@pytest.mark.parametrize("streamed", [False, True])
def test_deliver(folded: bytes, streamed: bool, tmp_path: Path) -> None:
    content = io.BytesIO(folded) if streamed else folded
    Maildir(tmp_path / "box").deliver(content, sender="a@b", recipient="c@d")
    check(one(tmp_path / "box"), folded)


@pytest.mark.parametrize("folded", FOLDED)
def test_deliver_async(folded: bytes, tmp_path: Path) -> None:
    asyncio.run(Maildir(tmp_path / "box").deliver_async(folded, sender="a@b", recipient="c@d"))
    check(one(tmp_path / "box"), folded)


def test_without_headers_on_top_it_is_stored_as_given(tmp_path: Path) -> None:
    Maildir(tmp_path / "box").deliver(FOLDED[0])
    assert one(tmp_path / "box") == FOLDED[0]


@pytest.mark.parametrize("message", [*FOLDED, *MBOX, *FIELDS, b"", b"\n", b"\nno header\n", b"\r\n"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_item_is_read_as_it_was_put(message: bytes, streamed: bool, tmp_path: Path) -> None:
    with Queue(tmp_path / "spool") as queue:
        for recipients in (["c@d"], ["c@d", "e@d"]):
            queue.put(io.BytesIO(message) if streamed else message, "a@b", recipients)
            (claim,) = queue.claim()
            assert claim.read() == message  # so a relay, a bounce and a copy have it too
            assert (claim.envelope.sender, [*claim.envelope.recipients]) == ("a@b", recipients)
            claim.ack()


@pytest.mark.parametrize("end", [b"", b"X", b"X-Mailbox-Line", b"Subject: s\n"])
def test_an_envelope_that_promises_what_is_not_there(end: bytes) -> None:
    with pytest.raises(envelope.Unreadable, match="nothing between"):
        envelope.read(io.BytesIO(b"Return-Path:  <a@b>\nDelivered-To: c@d\n" + end), "o")


def test_the_longest_address_above_a_first_line_that_is_no_header(tmp_path: Path) -> None:
    with Queue(tmp_path / "spool") as queue:
        sender = "s" * (8192 - len("Return-Path:  <>\n"))
        queue.put(b"no header", sender, ["c@d"])
        (claim,) = queue.claim()
        assert (claim.envelope.sender, claim.read()) == (sender, b"no header")
        with pytest.raises(PermanentError):
            queue.put(b"no header", sender + "s", ["c@d"])


@pytest.mark.parametrize("folded", FOLDED)
def test_queue_and_then_a_maildir(folded: bytes, tmp_path: Path) -> None:
    with Queue(tmp_path / "spool") as queue:
        queue.put(folded, "a@b", ["c@d"])
        (claim,) = queue.claim()
        claim.ack_into(Maildir(tmp_path / "box"))
    check(one(tmp_path / "box"), folded)


@pytest.mark.parametrize("folded", FOLDED)
def test_smtp(folded: bytes, tmp_path: Path) -> None:
    Maildir(tmp_path / "box")
    routing = CatchAll(str(tmp_path / "box"))
    received = b"Received: from x\n\tby y\n"
    mail = MailObject("a@b", [Recipient("c@d", str(tmp_path / "box"))], received, [folded])
    asyncio.run(MaildirStore(routing, Mailboxes(routing.candidates)).store(mail))
    check(one(tmp_path / "box"), folded)


@pytest.mark.parametrize("message", FIELDS)
@pytest.mark.parametrize("streamed", [False, True])
def test_fields_stay_fields(message: bytes, streamed: bool, tmp_path: Path) -> None:
    content = io.BytesIO(message) if streamed else message
    Maildir(tmp_path / "box").deliver(content, sender="a@b", recipient="c@d")
    assert one(tmp_path / "box") == b"Return-Path: <a@b>\nDelivered-To: c@d\n" + message


@pytest.mark.parametrize("message", [b"", b"\nno header\n", b"\r\nno header\r\n"])
def test_an_empty_line_needs_no_other(message: bytes, tmp_path: Path) -> None:
    Maildir(tmp_path / "box").deliver(message, sender="a@b")
    assert one(tmp_path / "box") == b"Return-Path: <a@b>\n" + message


@pytest.mark.parametrize("message", FIELDS + FOLDED + MBOX)
@pytest.mark.parametrize("size", [1, 7])
def test_in_small_pieces(message: bytes, size: int, tmp_path: Path) -> None:
    class Slow(io.BytesIO):
        def read(self, wanted: int | None = -1) -> bytes:  # noqa: ARG002
            return super().read(size if self.tell() < 1000 else -1)

    maildir = Maildir(tmp_path / "box")
    maildir.deliver(message, sender="a@b")
    expected = one(tmp_path / "box")
    end = -(-1000 // size) * size
    pieces = (*(message[at : at + size] for at in range(0, end, size)), message[end:])
    for content in (Slow(message), pieces):
        key = maildir.deliver(content, sender="a@b").key
        with maildir.open(key) as file:
            assert file.read() == expected


@pytest.mark.parametrize("message", MBOX)
def test_an_mbox_line_becomes_a_field(message: bytes, tmp_path: Path) -> None:
    Maildir(tmp_path / "box").deliver(message, sender="a@b")
    assert one(tmp_path / "box") == b"Return-Path: <a@b>\nX-Mailbox-Line: " + message
    words = ["deliver", "-f", "a@b", str(tmp_path / "piped")]
    subprocess.run([sys.executable, "-m", "maildir_safe", *words], input=message, check=True)
    line, rest = (b"", MBOX[0].partition(b"\n")[2]) if message is MBOX[0] else (b"X-Mailbox-Line: ", message)
    assert one(tmp_path / "piped") == b"Return-Path: <a@b>\n" + line + rest


def test_what_a_program_submits() -> None:
    given = Submitted(b">From a@b\nTo: c@d\n\nbody\n", "x.example")
    assert given.recipients() == ["c@d"]
    start = b"X-Mailbox-Line: >From a@b\nTo: c@d\nFrom: a@b"
    assert b"".join(given.completed("a@b", "", 0, "u")).startswith(start)
    given = Submitted(b"hello world\nTo: c@d\n", "x.example")
    assert b"".join(given.completed("a@b", "", 0, "u")).endswith(b"@x.example>\n\nhello world\nTo: c@d\n")


def test_a_field_in_the_body_is_no_loop(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "maildir_safe", "deliver", "-d", "c@d", str(tmp_path / "box")]
    message = b"hello world\nDelivered-To: c@d\n\nbody\n"
    subprocess.run(words, input=message, check=True)
    assert one(tmp_path / "box") == b"Delivered-To: c@d\n\n" + message


def test_the_command(tmp_path: Path) -> None:
    words = ["deliver", "-f", "a@b", "-d", "c@d", str(tmp_path / "box")]
    subprocess.run([sys.executable, "-m", "maildir_safe", *words], input=FOLDED[0], check=True)
    check(one(tmp_path / "box"), FOLDED[0])
