"""A listing that shows a message by its short alias, as vfat's does now and then while names are added."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.listing import stable_listing
from maildir_safe._queue.store.item_name import parse
from maildir_safe._queue.store.lease import heartbeat

ALIAS = "17EF2C~7.GUE"


class Vfat(OsFileSystem):
    """One listing shows the next long name by its alias; every other call takes both names.

    Attributes:
        odd: how many listings that have a long name in them are still to show the alias.
    """

    def __init__(self, odd: int = 1) -> None:
        self.odd = odd
        self._long = ""

    def listdir(self, dir_fd: int) -> list[str]:
        names = super().listdir(dir_fd)
        long = [name for name in names if ",S=" in name]
        if self.odd and long:
            self.odd -= 1
            self._long = long[0]
            names[names.index(self._long)] = ALIAS
        return names

    def stat(self, name: str, dir_fd: int) -> os.stat_result:
        return super().stat(self._true(name), dir_fd)

    def open(self, name: str, dir_fd: int | None = None) -> int:
        return super().open(self._true(name), dir_fd)

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        super().rename(self._true(src), dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def _true(self, name: str) -> str:
        return self._long if name == ALIAS else name


def test_a_message_keeps_its_key(tmp_path: Path) -> None:
    key = Maildir(tmp_path / "box").deliver(b"A: b\n\nc").key
    reader = Maildir(tmp_path / "box", fs=Vfat())
    for message in reader.messages():
        reader.set_flags(message.key, "S")
    assert [(m.key, m.flags) for m in Maildir(tmp_path / "box").messages()] == [(key, "S")]


def test_a_delivery_is_found_by_its_id(tmp_path: Path) -> None:
    Maildir(tmp_path / "box").deliver(b"A: b\n\nc", delivery_id="1")
    again = Maildir(tmp_path / "box", fs=Vfat()).deliver(b"A: b\n\nc", delivery_id="1")
    assert [m.key for m in Maildir(tmp_path / "box").messages()] == [again.key]


def test_a_sweeper_takes_no_item_for_unreadable(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with Queue(spool, heartbeat=False) as dead:
        ident = dead.put(b"A: b\n\nc", "s@example.org", ["r@example.org"])
        [claim] = dead.claim()
        worker = claim._lease.worker
        (spool / "alive" / heartbeat(worker, 0)).rename(spool / "fenced" / worker)
        with Queue(spool, heartbeat=False, fs=Vfat()) as other:
            other.tend()
            assert {state: n for state, n in other.stats().items() if n and state != "oldest_age"} == {
                "pending": 1
            }
            assert [claim.id for claim in other.claim()] == [ident]


@pytest.mark.parametrize("name", [ALIAS, "BACKUP~1"])
def test_a_file_that_has_such_a_name_is_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    fs = OsFileSystem()
    fd = fs.open_dir(str(tmp_path))
    assert stable_listing(fs, fd) == [name]
    assert parse(name) is None
    fs.close(fd)
