"""The cases measured: ways to put mail into a Maildir. A case that leaves out a safety is marked unsafe.

Every case writes messages whose first line is their number, so that a round can be verified.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from maildir_safe._bench import queueing
from maildir_safe._delivery.receipt import Receipt
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.maildir import Maildir

Deliver = Callable[[list[bytes]], list[Receipt]]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to deliver.

    Attributes:
        name: for tables.
        safe: whether acknowledged mail survives a crash on a mount whose fsync tells the truth.
        open: makes a Maildir at a path, with this staging, and gives a function that delivers messages into
            it; the receipts give the time of each step. Or a spool, with a `Cycle`.
        chunk: messages a call of that function.
        size: bytes of a message; 0 is a mail-like mix.
    """

    name: str
    safe: bool
    open: Callable[[Path, str | None], Deliver]
    chunk: int = 10
    size: int = 4096


def message(number: int, size: int) -> bytes:
    """Return a message of this size that begins with its number; see `Case.size`."""
    if size == 0:  # most messages are small, and most bytes are in the others
        chance = random.Random(number)
        size = min(1 << 20, int(chance.lognormvariate(8.7, 1.3)))
    return b"%d\n" % number + b"x" * max(0, size - 12) + b"\n"


def one_by_one(path: Path, staging: str | None = None) -> Deliver:
    """Call `Maildir.deliver` for one message after the other."""
    maildir = Maildir(path, staging=staging)
    return lambda mails: [maildir.deliver(mail) for mail in mails]


def in_groups(path: Path, staging: str | None = None) -> Deliver:
    """Call `Maildir.deliver_many`: a group shares its fsyncs."""
    return Maildir(path, staging=staging).deliver_many


def in_threads(count: int) -> Callable[[Path, str | None], Deliver]:
    """Call `Maildir.deliver` from several threads."""

    def opened(path: Path, staging: str | None = None) -> Deliver:
        maildir = Maildir(path, staging=staging)
        pool = ThreadPoolExecutor(count)
        return lambda mails: list(pool.map(maildir.deliver, mails))

    return opened


def in_directories(count: int) -> Callable[[Path, str | None], Deliver]:
    """Deliver from several threads, each with a Maildir of its own."""

    def opened(path: Path, staging: str | None = None) -> Deliver:
        maildir = Maildir(path, staging=staging)
        boxes = [maildir.folder(f"w{number}") for number in range(count)]
        pool = ThreadPoolExecutor(count)

        def deliver(mails: list[bytes]) -> list[Receipt]:
            parts = pool.map(lambda n: [boxes[n].deliver(mail) for mail in mails[n::count]], range(count))
            return [receipt for receipts in parts for receipt in receipts]

        return deliver

    return opened


def by_asyncio(path: Path, staging: str | None = None) -> Deliver:
    """Call `Maildir.deliver_async` for all messages at once."""
    maildir = Maildir(path, staging=staging)

    async def together(mails: list[bytes]) -> list[Receipt]:
        return list(await asyncio.gather(*map(maildir.deliver_async, mails)))

    return lambda mails: asyncio.run(together(mails))


class _WithoutFsync(OsFileSystem):
    """A file system without fsync, which only shows the cost of fsync."""

    def __init__(self, but_files: bool) -> None:
        self._but_files = but_files

    def fsync(self, fd: int) -> None:
        """Only what is still wanted."""
        if self._but_files and not os.path.isdir(f"/proc/self/fd/{fd}"):
            super().fsync(fd)


def without_directory_fsync(path: Path, staging: str | None = None) -> Deliver:
    """As `one_by_one`, but a crash may take acknowledged mail back."""
    maildir = Maildir(path, staging=staging, fs=_WithoutFsync(but_files=True))
    return lambda mails: [maildir.deliver(mail) for mail in mails]


def in_groups_without(path: Path, staging: str | None = None) -> Deliver:
    """As `in_groups`, but a crash may take acknowledged mail back."""
    return Maildir(path, staging=staging, fs=_WithoutFsync(but_files=True)).deliver_many


def without_fsync(path: Path, staging: str | None = None) -> Deliver:
    """As `one_by_one`, but nothing is made durable."""
    maildir = Maildir(path, staging=staging, fs=_WithoutFsync(but_files=False))
    return lambda mails: [maildir.deliver(mail) for mail in mails]


class _Linking(OsFileSystem):
    """Publishes by link and unlink, as qmail does; everything else is as in our deliveries."""

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:  # type: ignore[override]
        """Link, then unlink."""
        self.link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.unlink(src, dir_fd=src_dir_fd)


class _LinkingWithoutFsync(_Linking, _WithoutFsync):
    """Both."""


def link_and_unlink(path: Path, staging: str | None = None) -> Deliver:
    """As `one_by_one`, by link and unlink. Fails if the mount refuses links."""
    return _linking(path, staging, _Linking())


def link_and_unlink_without(path: Path, staging: str | None = None) -> Deliver:
    """As `link_and_unlink`, but a crash may take acknowledged mail back."""
    return _linking(path, staging, _LinkingWithoutFsync(but_files=True))


def _linking(path: Path, staging: str | None, fs: OsFileSystem) -> Deliver:
    maildir = Maildir(path, staging=staging)
    linking = Maildir(path, create=False, staging=staging, fs=fs, resolve_timeout=0.1)
    linking.deliver(b"0\n")  # a mount without links fails before anything is measured
    maildir.discard(next(maildir.messages()).key)
    return lambda mails: [linking.deliver(mail) for mail in mails]


QUICK = [  # the longest cases come last, and are left out on a slow mount
    Case("rename", True, one_by_one),
    Case("rename, groups of 32", True, in_groups, 32),
    Case("link + unlink", True, link_and_unlink),
    Case("queue", True, queueing.one_by_one),
    Case("queue, groups of 32", True, queueing.in_groups, 32),
    Case("rename, no fsync at all", False, without_fsync),
    Case("rename, groups of 128", True, in_groups, 128),
    Case("128 at once, asyncio", True, by_asyncio, 128),
]
CASES = [
    *QUICK,
    Case("rename, no directory fsync", False, without_directory_fsync),
    Case("rename, groups of 32, no directory fsync", False, in_groups_without, 32),
    Case("link + unlink, no directory fsync", False, link_and_unlink_without),
    Case("8 threads", True, in_threads(8), 40),
    Case("32 threads", True, in_threads(32), 96),
    Case("8 threads, own Maildirs", True, in_directories(8), 40),
    Case("rename, 1 KiB", True, one_by_one, size=1024),
    Case("rename, 64 KiB", True, one_by_one, size=65536),
    Case("rename, 1 MiB", True, one_by_one, 2, size=1 << 20),
    Case("rename, mixed sizes", True, one_by_one, size=0),
]
