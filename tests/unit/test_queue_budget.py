"""No directory of a spool grows with the queue: Coda and AFS hold some 4,000 names a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maildir_safe import Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._queue.consumer import MOST_HELD

BUDGET = 4000
ITEMS = 10_000


class WithoutFsync(OsFileSystem):
    """What is counted here are names."""

    def fsync(self, fd: int) -> None:
        pass

    def syncfs(self, fd: int) -> None:
        pass


def longest(spool: Path) -> int:
    return max(len(dirs) + len(files) for _, dirs, files in os.walk(spool))


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    queue = Queue(tmp_path / "spool", fs=WithoutFsync(), heartbeat=False)
    queue.put_many([(b"x\n", "a@example.org", [f"{n}@example.org"]) for n in range(ITEMS)])
    assert longest(tmp_path / "spool") < BUDGET
    return queue


def test_one_worker_holds_no_more_than_a_directory_does(queue: Queue, tmp_path: Path) -> None:
    first = queue.claim(ITEMS)
    assert len(first) == MOST_HELD < BUDGET
    assert queue.claim(1) == []
    assert longest(tmp_path / "spool") < BUDGET
    first[0].ack()
    assert len(queue.claim(ITEMS)) == 1


def test_what_failed_is_spread_over_parts(queue: Queue, tmp_path: Path) -> None:
    done = 0
    while claims := queue.claim(1000):
        for claim in claims:
            claim.fail("no such user")
        done += len(claims)
    assert done == ITEMS
    assert longest(tmp_path / "spool") < BUDGET
    assert queue.stats()["failed"] == ITEMS
    spread = [len(files) for _, _, files in os.walk(tmp_path / "spool" / "failed") if files]
    assert len(spread) == 256
    assert max(spread) < 3 * ITEMS / 256
