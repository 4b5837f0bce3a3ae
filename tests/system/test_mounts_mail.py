"""A mailbox of two hundred messages on each mount: all that is done to mail, and nothing goes amiss."""

from __future__ import annotations

import os
import random
from pathlib import Path

from mounts import EVERY, on_mounts

from benchmarks.mounts import Mount
from maildir_safe import Maildir
from maildir_safe.mailbox import Maildir as DropIn

MESSAGES = 200
DURABILITY = {"rclone-webdav": "client", "afs": "file"}  # all else: full


def letter(number: int) -> bytes:
    """A message of a size of its own, that says which it is in its body too."""
    return b"Subject: %d\n\n" % number + random.Random(number).randbytes(number * 31) + b"\n%d\n" % number


@on_mounts(*EVERY)
def test_two_hundred_messages(mount: Mount) -> None:
    box = Maildir(mount.folder() / "box")
    receipts = {n: box.deliver(letter(n), delivery_id=f"id {n}") for n in range(0, MESSAGES, 2)}
    receipts |= {
        n: receipt
        for first in range(1, MESSAGES, 50)
        for n, receipt in zip(
            range(first, first + 50, 2),
            box.deliver_many(letter(n) for n in range(first, first + 50, 2)),
            strict=True,
        )
    }
    assert {receipt.durability for receipt in receipts.values()} == {DURABILITY.get(mount.kind.name, "full")}
    for n in range(0, MESSAGES, 10):  # some are read, with two changes of flags each
        box.set_flags(receipts[n].key, "S")
        box.set_flags(receipts[n].key, "FS")
    again = Maildir(box.path, create=False)
    for n in range(0, MESSAGES, 10):  # their sender has not heard of it, and tries again; so for others
        assert again.deliver(letter(n), delivery_id=f"id {n}").key == receipts[n].key
        assert again.deliver(letter(n + 2), delivery_id=f"id {n + 2}").repeated
    abandoned = Path(box.path, "tmp", "abandoned")
    abandoned.write_bytes(b"x")
    days_ago = abandoned.stat().st_mtime - 37 * 3600  # by the mount's clock: rclone's is of another century
    os.utime(abandoned, (days_ago, days_ago))
    assert again.clean().removed == ["tmp/abandoned"]

    found = {message.key: message.flags for message in again.messages()}
    assert found == {receipts[n].key: "" if n % 10 else "FS" for n in range(MESSAGES)}
    drop_in = DropIn(box.path, create=False)
    assert len(drop_in) == MESSAGES
    for n in range(MESSAGES):
        with again.open(receipts[n].key) as file:
            assert file.read() == letter(n)
        assert drop_in.get_flags(receipts[n].key) == found[receipts[n].key]
    for n in range(0, MESSAGES, 4):
        drop_in.remove(receipts[n].key)
    key = drop_in.add(letter(MESSAGES))
    assert drop_in.get_bytes(key) == letter(MESSAGES)
    left = {receipts[n].key for n in range(MESSAGES) if n % 4} | {key}
    assert {message.key for message in Maildir(box.path, create=False).messages()} == left
    assert os.listdir(f"{box.path}/tmp") == []
