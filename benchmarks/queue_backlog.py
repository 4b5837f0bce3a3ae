"""What a backlog costs: a cycle beside many waiting items, and waiting beside items for later."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.queue_contenders import MESSAGE, RECIPIENT, SENDER
from maildir_safe import Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._queue.store.bucket import LIMIT, Bucket, period
from maildir_safe._queue.store.item import Item, ItemIds


def fill(spool: Path, count: int, ahead: int = 0) -> None:
    """Make a backlog without any fsync: what is measured afterwards is not how it came there."""
    Queue(spool).close()
    head = f"Return-Path: <{SENDER}>\nDelivered-To: {RECIPIENT}\n".encode()
    ids, now = ItemIds(OsFileSystem(), "bench").new([""] * count), time.time()
    content, dir_fd = head + b"x\n", -1
    for number in range(count):
        due = int(now + ahead + number % 86400) if ahead else 0
        if number % LIMIT == 0:
            bucket = spool / "pending" / Bucket(period(due, now), "bench-0", number // LIMIT).name
            bucket.mkdir()
            if dir_fd >= 0:
                os.close(dir_fd)
            dir_fd = os.open(bucket, os.O_RDONLY)
        name = Item(ids[number], len(content), 0, 0, due, "o").name
        fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=dir_fd)
        os.write(fd, content)
        os.close(fd)
    os.close(dir_fd)


def backlog_costs(base: Path, counts: tuple[int, int]) -> float:
    """What a cycle costs beside one backlog, in units of the same beside the other; in turns."""
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        with contextlib.ExitStack() as stack:
            queues = []
            for count in counts:
                fill(path / str(count), count)
                queues.append(stack.enter_context(Queue(path / str(count), create=False)))
                _cycle(queues[-1], 100)
            ratios = []
            for _ in range(20):
                few, many = (_cycle(queue, 40) for queue in queues)
                ratios.append(many / few)
            return statistics.median(ratios)
    finally:
        shutil.rmtree(path)


def _cycle(queue: Queue, count: int) -> float:
    """Seconds for so many times put one, claim one, ack it."""
    start = time.perf_counter()
    for _ in range(count):
        queue.put(MESSAGE, SENDER, [RECIPIENT])
        [claim] = queue.claim()
        claim.ack()
    return time.perf_counter() - start


def idle_share(base: Path, count: int, seconds: float) -> float:
    """Share of a core that a worker uses which waits on a spool of items that are not due."""
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        fill(path / "spool", count, ahead=86400)
        with Queue(path / "spool", create=False) as queue:
            queue.claim()
            before = resource.getrusage(resource.RUSAGE_SELF)
            assert queue.claim(wait=seconds) == []
            after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return used / seconds
    finally:
        shutil.rmtree(path)
