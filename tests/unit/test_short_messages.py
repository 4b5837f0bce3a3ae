"""A message that is shorter on disk than its name says is damage, unless Dovecot has compressed it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe.errors import PermanentError
from maildir_safe.mailbox import Maildir as DropIn

MAIL = b"Subject: x\n\n" + b"y" * 500 + b"\n"


def stored(path: Path) -> tuple[str, Path]:
    key = Maildir(path).deliver(MAIL).key
    [file] = (path / "new").iterdir()
    return key, file


def by_maildir(path: Path, key: str) -> bytes:
    with Maildir(path).open(key) as file:
        return file.read()


def by_get_bytes(path: Path, key: str) -> bytes:
    return DropIn(path).get_bytes(key)


def by_get_file(path: Path, key: str) -> bytes:
    with DropIn(path).get_file(key) as file:
        return file.read()


DOORS = pytest.mark.parametrize("door", [by_maildir, by_get_bytes, by_get_file])
Door = Callable[[Path, str], bytes]


@DOORS
@pytest.mark.parametrize("size", [0, 5, 80, len(MAIL) - 1])
def test_a_message_that_is_short_on_disk_is_damaged(tmp_path: Path, door: Door, size: int) -> None:
    """80 bytes of 512 were read as a whole message."""
    key, file = stored(tmp_path / "m")
    os.truncate(file, size)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(PermanentError, match=rf"it has {size} bytes, and its name says {len(MAIL)}"):
            door(tmp_path / "m", key)
    assert len(os.listdir("/proc/self/fd")) <= before + 6  # the directories of two Maildirs
    assert file.stat().st_size == size


@DOORS
@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(MAIL),
        bz2.compress(MAIL),
        lzma.compress(MAIL),
        b"Dovecot-LZ4\r*\x9bx",
        b"\x28\xb5\x2f\xfdzz",
    ],
    ids=["gzip", "bzip2", "xz", "lz4", "zstd"],
)
def test_a_compressed_message_is_read_as_it_is(tmp_path: Path, door: Door, content: bytes) -> None:
    key, file = stored(tmp_path / "m")
    file.write_bytes(content)
    assert door(tmp_path / "m", key) == content


@DOORS
def test_a_longer_message_and_one_without_a_size_are_read_as_they_are(tmp_path: Path, door: Door) -> None:
    key, file = stored(tmp_path / "m")
    file.write_bytes(MAIL + b"more")
    assert door(tmp_path / "m", key) == MAIL + b"more"
    file.rename(file.with_name("1700000000.a.host"))
    assert door(tmp_path / "m", "1700000000.a.host") == MAIL + b"more"


def test_a_size_that_this_client_remembers_from_before_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = stored(tmp_path / "m")
    maildir = Maildir(tmp_path / "m")

    def old(fd: int) -> os.stat_result:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            return facts
        return os.stat_result([*facts[:6], 80, *facts[7:10]])

    monkeypatch.setattr(OsFileSystem, "fstat", staticmethod(old))
    with maildir.open(key) as file:
        assert file.read() == MAIL
