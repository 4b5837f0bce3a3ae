"""Real messages and ugly ones, by every way in: the bytes that come back are the bytes that went in."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import io
import os
import re
import sys
from collections.abc import Callable
from email.message import Message
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from maildir_safe import Maildir, Receipt
from maildir_safe.mailbox import Maildir as DropIn

UGLY = {
    "empty": b"",
    "only a newline": b"\n",
    "header without body": b"Subject: x\n",
    "no final newline": b"Subject: x\n\nbody",
    "CRLF": b"Subject: x\r\nTo: y\r\n\r\nbody\r\n",
    "bare CR": b"Subject: x\rTo: y\r\rbody\r",
    "every line end": b"a: 1\r\nb: 2\nc: 3\r\r\n\n\rbody\r\r\n",
    "NUL bytes": b"Subject: a\0b\n\n\0\0body\0\n\0",
    "all bytes": b"Subject: all\n\n" + bytes(range(256)) * 3,
    "8-bit header": "Subject: Grüße aus Köln\nFrom: Jürgen <j@example.com>\n\nbody\n".encode("latin-1"),
    "UTF-8 header": "Subject: Grüße, 日本語, \N{PILE OF POO}\n\n本文\n".encode(),
    "torn UTF-8": "Subject: ü\n\nü".encode()[:-1] + b"\xff\xfe\n",
    "From lines and dots": b"From me\nSubject: x\n\nFrom you\n>From them\n.\n..\n",
    "long line": b"Subject: " + b"x" * 100_000 + b"\n\n" + b"y" * 1_000_000,
}
FOLDERS = ("Entwürfe", "日本語.Sub", "\N{PILE OF POO}", "R&D", "a b", "Тест.Ящик")


def cpythons() -> dict[str, bytes]:
    """The messages that CPython's email package is tested with; empty where the interpreter has none."""
    spec = find_spec("test.test_email")
    if spec is None or spec.origin is None:
        return {}
    return {path.name: path.read_bytes() for path in sorted(Path(spec.origin).parent.glob("data/msg_*.txt"))}


MESSAGES = {**UGLY, **cpythons()}
each_message = pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES.keys())


def in_a_batch(box: Maildir, data: bytes) -> Receipt:
    return box.deliver_many([b"before", data, io.BytesIO(b"after")])[1]


def in_a_large_batch(box: Maildir, data: bytes) -> Receipt:
    return box.deliver_many([data] * 20)[-1]


WAYS: dict[str, Callable[[Maildir, bytes], Receipt]] = {
    "bytes": lambda box, data: box.deliver(data),
    "memoryview": lambda box, data: box.deliver(memoryview(data)),
    "stream": lambda box, data: box.deliver(io.BytesIO(data)),
    "text": lambda box, data: box.deliver(data.decode("utf-8", "surrogateescape")),
    "flags": lambda box, data: box.deliver(data, flags="SR"),
    "id": lambda box, data: box.deliver(data, delivery_id="4Fq2Zb@example"),
    "deliver_many": in_a_batch,
    "deliver_many of 20": in_a_large_batch,
    "deliver_async": lambda box, data: asyncio.run(box.deliver_async(data)),
    "deliver_async of a stream": lambda box, data: asyncio.run(box.deliver_async(io.BytesIO(data))),
}


def test_cpythons_messages_are_there() -> None:
    if not cpythons():
        text = f"{sys.executable} lacks test.test_email (Debian leaves it out): its messages are not tried"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(text)
    assert len(cpythons()) >= 45


@each_message
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_stored_as_given(way: Callable[[Maildir, bytes], Receipt], data: bytes, tmp_path: Path) -> None:
    box = Maildir(tmp_path / "box")
    receipt = way(box, data)
    assert Path(receipt.path).read_bytes() == data
    assert receipt.size == len(data)
    with box.open(receipt.key) as file:
        assert file.read() == data
    assert box.find(receipt.key).size == len(data)
    assert os.listdir(tmp_path / "box" / "tmp") == []


@each_message
@pytest.mark.parametrize(
    "policy", [email.policy.compat32, email.policy.default], ids=["Message", "EmailMessage"]
)
def test_email_objects_as_flattened(policy: Any, data: bytes, tmp_path: Path) -> None:
    message: Message = email.message_from_bytes(data, policy=policy)
    unchanged = message.policy.clone(mangle_from_=False, max_line_length=0, linesep="\n")
    receipt = Maildir(tmp_path / "box").deliver(message)
    assert Path(receipt.path).read_bytes() == message.as_bytes(policy=unchanged)


def between(data: bytes) -> bytes:
    """What keeps the first line apart from the headers above it, as Postfix's smtpd and cleanup do."""
    if re.match(rb">*From ", data):
        return b"X-Mailbox-Line: "
    is_header = re.match(rb"[!-9;-~]+[ \t]*:", data)
    return b"" if is_header or re.match(rb"\r?\n|$", data) else b"\n"


@each_message
def test_envelope_on_top_and_the_rest_as_given(data: bytes, tmp_path: Path) -> None:
    receipt = Maildir(tmp_path / "box").deliver(
        io.BytesIO(data), sender="", recipient="jürgen@example.com", original_recipient="info@example.com"
    )
    head = "Return-Path: <>\nX-Original-To: info@example.com\nDelivered-To: jürgen@example.com\n".encode()
    assert Path(receipt.path).read_bytes() == head + between(data) + data


@each_message
def test_drop_in_as_the_standard_library(data: bytes, tmp_path: Path) -> None:
    """Bytes as given; of a file, line ends are made LF, as `mailbox` does."""
    box = DropIn(tmp_path / "box")
    assert box.get_bytes(box.add(data)) == data
    lines = io.BytesIO(data).readlines()
    unix = [line[:-2] + b"\n" if line.endswith(b"\r\n") else line for line in lines]
    unix[-1:] = [line[:-1] + b"\n" if line.endswith(b"\r") else line for line in unix[-1:]]
    assert box.get_bytes(box.add(io.BytesIO(data))) == b"".join(unix)


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_beyond_ascii(name: str, tmp_path: Path) -> None:
    box = Maildir(tmp_path / "box")
    receipt = box.deliver(UGLY["UTF-8 header"], folder=name)
    assert box.folders() == [name]
    stored = Path(receipt.path).parents[1].name
    assert stored.isascii()
    assert stored.startswith(".")
    again = Maildir(tmp_path / "box").folder(name, create=False)
    with again.open(receipt.key) as file:
        assert file.read() == UGLY["UTF-8 header"]
    again.move(receipt.key, box)
    assert [message.key for message in box.messages()] == [receipt.key]


def test_fifty_mebibytes(tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    whole = hashlib.sha256(block * 50).hexdigest()
    source = tmp_path / "large"
    source.write_bytes(block * 50)
    box = Maildir(tmp_path / "box")
    with source.open("rb") as one, source.open("rb") as other:
        receipts = [box.deliver(one), *box.deliver_many([other, block * 50])]
    for receipt in receipts:
        assert receipt.size == 50 << 20
        with box.open(receipt.key) as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == whole
    assert box.size() == 150 << 20
