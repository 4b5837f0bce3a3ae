"""A seal that a late rename has moved is neither a message nor an item, and goes where it is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._check.fsck import SpoolCheck
from maildir_safe._fs.posix import OsFileSystem

SEAL = "1763000000.M1P2Q3R00c0ffee00c0ffee.host,S=22"


class Uncounted(OsFileSystem):
    """A file system whose link counts tell nothing of directories, such as btrfs."""

    def fstat(self, fd: int) -> os.stat_result:  # type: ignore[override]
        found = os.fstat(fd)
        return os.stat_result((*found[:3], 1, *found[4:]))


def test_clean_removes_a_seal_in_new_and_nothing_that_holds_something(tmp_path: Path) -> None:
    box = Maildir(tmp_path / "m")
    key = box.deliver(b"Subject: x\n\n").key
    (tmp_path / "m/new" / SEAL).mkdir(0o500)
    (tmp_path / "m/cur" / SEAL).mkdir()
    (tmp_path / "m/cur" / SEAL / "kept").touch()
    assert [message.key for message in box.messages()] == [key]
    box.clean(dry_run=True)
    assert (tmp_path / "m/new" / SEAL).exists()
    box.clean()
    assert not (tmp_path / "m/new" / SEAL).exists()
    assert (tmp_path / "m/cur" / SEAL / "kept").exists()


@pytest.mark.parametrize("fs", [OsFileSystem(), Uncounted()], ids=["counted", "uncounted"])
def test_a_seal_among_items_is_never_one(tmp_path: Path, fs: OsFileSystem) -> None:
    with Queue(tmp_path / "s", fs=fs) as queue:
        ident = queue.put(b"Subject: x\n\n", "", ["b@x.org"])
        (item,) = (path for path in (tmp_path / "s/pending").rglob("*") if path.is_file())
        seal = item.with_name(item.name.replace(".M", ".M9"))
        seal.mkdir(0o500)
        box = Maildir(tmp_path / "m")
        for _ in range(3):
            for claim in queue.claim(10):
                claim.ack_into(box)
        assert queue.stats()["corrupt"] == 0
        assert [message.key.split(",")[0] for message in box.messages()] == [ident]
    assert not seal.exists()
    assert list(SpoolCheck(str(tmp_path / "s")).run()) == []
