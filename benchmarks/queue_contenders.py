"""What `benchmarks.queue` compares: this package, persist-queue's SQLite, and the bare file calls.

All are durable: put and ack return after an fsync. A ceiling makes the file calls that a queue by
rename cannot do without, with short names that never change, and looks into no error. It writes the
same bytes: a message of 4 KiB and its envelope are two blocks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from maildir_safe import Queue
from maildir_safe._fs.libc import syncfs
from maildir_safe._queue.store.envelope import head

MESSAGE = b"Subject: benchmark\n\n" + b"x" * 4076
SENDER, RECIPIENT = "s@example.org", "r@example.org"
GROUP = 32
_FILE = head(SENDER, [RECIPIENT]) + MESSAGE

OURS, OURS_IN_GROUPS = "maildir_safe", f"maildir_safe, groups of {GROUP}"
CEILING, CEILING_IN_GROUPS = "ceiling: bare calls", f"ceiling: bare calls, groups of {GROUP}"
SQLITE = "persist-queue, SQLite"

Cycle = Callable[[int], None]
"""Puts, claims and acks so many items."""

Contender = Callable[[Path], contextlib.AbstractContextManager[Cycle]]


@contextlib.contextmanager
def ours(path: Path) -> Iterator[Cycle]:
    """One by one: each put and each ack is durable before the next call."""

    def cycle(count: int) -> None:
        for _ in range(count):
            queue.put(MESSAGE, SENDER, [RECIPIENT])
            [claim] = queue.claim()
            claim.ack()

    with Queue(path / "spool") as queue:
        yield cycle


@contextlib.contextmanager
def ours_in_groups(path: Path) -> Iterator[Cycle]:
    """Groups of 32: `put_many`, `claim(32)`, `ack_many`."""
    group = [(MESSAGE, SENDER, [RECIPIENT])] * GROUP

    def cycle(count: int) -> None:
        for _ in range(count // GROUP):
            queue.put_many(group)
            claims = queue.claim(GROUP)
            assert len(claims) == GROUP
            queue.ack_many(claims)

    with Queue(path / "spool") as queue:
        yield cycle


@contextlib.contextmanager
def ceiling(path: Path) -> Iterator[Cycle]:
    """The file calls that a queue by rename cannot do without, one item after the other."""
    tmp, pending, claimed = directories(path)

    yield bare_cycle("item", tmp, pending, claimed)
    for fd in (tmp, pending, claimed):
        os.close(fd)


def bare_cycle(name: str, tmp: int, pending: int, claimed: int) -> Cycle:
    """The bare calls in three directories by descriptor, for an item of that name."""

    def cycle(count: int) -> None:
        for _ in range(count):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tmp)
            os.write(fd, _FILE)
            os.fsync(fd)
            os.close(fd)
            os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=pending)
            os.fsync(pending)
            os.rename(name, name, src_dir_fd=pending, dst_dir_fd=claimed)
            os.unlink(name, dir_fd=claimed)
            os.fsync(claimed)

    return cycle


@contextlib.contextmanager
def ceiling_in_groups(path: Path) -> Iterator[Cycle]:
    """The same in groups of 32, with one syncfs for all files."""
    tmp, pending, claimed = directories(path)
    names = [str(number) for number in range(GROUP)]

    def cycle(count: int) -> None:
        for _ in range(count // GROUP):
            for name in names:
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tmp)
                os.write(fd, _FILE)
                os.close(fd)
            syncfs(tmp)
            for name in names:
                os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=pending)
            os.fsync(pending)
            for name in names:
                os.rename(name, name, src_dir_fd=pending, dst_dir_fd=claimed)
            for name in names:
                os.unlink(name, dir_fd=claimed)
            os.fsync(claimed)

    yield cycle
    for fd in (tmp, pending, claimed):
        os.close(fd)


@contextlib.contextmanager
def persist_queue(path: Path) -> Iterator[Cycle]:
    """persist-queue's SQLite queue with acknowledgements, its defaults: each call is a transaction."""
    queue = importlib.import_module("persistqueue").SQLiteAckQueue(str(path / "sqlite"), auto_commit=True)

    def cycle(count: int) -> None:
        for _ in range(count):
            queue.put(MESSAGE)
            queue.ack(queue.get())

    yield cycle
    queue.close()


def directories(path: Path) -> list[int]:
    """Descriptors of a ceiling's three directories, made below `path`."""
    made = [path / name for name in ("tmp", "pending", "claimed")]
    for directory in made:
        directory.mkdir(parents=True, exist_ok=True)
    return [os.open(directory, os.O_RDONLY | os.O_DIRECTORY) for directory in made]


def has_persist_queue() -> bool:
    """Whether it is installed, and can take part."""
    return importlib.util.find_spec("persistqueue") is not None


CONTENDERS: dict[str, tuple[Contender, int]] = {
    OURS: (ours, 100),
    OURS_IN_GROUPS: (ours_in_groups, 640),
    CEILING: (ceiling, 100),
    CEILING_IN_GROUPS: (ceiling_in_groups, 640),
    SQLITE: (persist_queue, 32),
}
"""Each with the number of items in a slice. SQLite's table grows, and it is the slower the more it had."""
