"""A first line that begins with a blank never joins the headers that are put on top, by any door."""

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
from maildir_safe._smtp.backends.maildir_store import MaildirStore
from maildir_safe._smtp.backends.routing import CatchAll
from maildir_safe._smtp.backends.store import MailObject, Recipient

FOLDED = [b" x-evil: 1\nSubject: s\n\nbody\n", b"\tfolded\n", b" \nSubject: blank first line\n\nbody\n"]


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


def test_the_command(tmp_path: Path) -> None:
    words = ["deliver", "-f", "a@b", "-d", "c@d", str(tmp_path / "box")]
    subprocess.run([sys.executable, "-m", "maildir_safe", *words], input=FOLDED[0], check=True)
    check(one(tmp_path / "box"), FOLDED[0])
