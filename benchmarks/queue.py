"""How fast is the queue? put + claim + ack of 4 KiB, beside persist-queue's SQLite and a bare ceiling.

    python -m benchmarks.queue DIRECTORY [--rounds N] [--backlog N] [--backlog-in DIRECTORY] [--json FILE]

DIRECTORY is on the file system to be measured; everything is made below it and removed afterwards.
Contenders alternate, and are compared by the median over rounds of their ratio. All are durable: put
and ack return after an fsync. The ceiling makes the same file calls with fixed names and looks into
no error. persist-queue takes part if it can be imported.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from maildir_safe import Queue
from maildir_safe._libc import syncfs
from maildir_safe.queue.item import Item, ItemIds

MESSAGE = b"Subject: benchmark\n\n" + b"x" * 4076
SENDER, RECIPIENT = "s@example.org", "r@example.org"
GROUP = 32
PROCESSES = 8

Cycle = Callable[[int], None]
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
    tmp, pending, claimed = _directories(path)

    def cycle(count: int) -> None:
        for _ in range(count):
            fd = os.open("item", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tmp)
            os.write(fd, MESSAGE)
            os.fsync(fd)
            os.close(fd)
            os.rename("item", "item", src_dir_fd=tmp, dst_dir_fd=pending)
            os.fsync(pending)
            os.rename("item", "item", src_dir_fd=pending, dst_dir_fd=claimed)
            os.unlink("item", dir_fd=claimed)
            os.fsync(claimed)

    yield cycle
    for fd in (tmp, pending, claimed):
        os.close(fd)


@contextlib.contextmanager
def ceiling_in_groups(path: Path) -> Iterator[Cycle]:
    """The same in groups of 32, with one syncfs for all files."""
    tmp, pending, claimed = _directories(path)
    names = [str(number) for number in range(GROUP)]

    def cycle(count: int) -> None:
        for _ in range(count // GROUP):
            for name in names:
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tmp)
                os.write(fd, MESSAGE)
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
    from persistqueue import SQLiteAckQueue  # type: ignore[import-not-found]

    queue = SQLiteAckQueue(str(path / "sqlite"), auto_commit=True)

    def cycle(count: int) -> None:
        for _ in range(count):
            queue.put(MESSAGE)
            queue.ack(queue.get())

    yield cycle
    queue.close()


CONTENDERS: dict[str, tuple[Contender, int]] = {
    "ours": (ours, 32),
    "ours, groups of 32": (ours_in_groups, 320),
    "ceiling": (ceiling, 32),
    "ceiling, groups of 32": (ceiling_in_groups, 320),
    "persist-queue": (persist_queue, 32),
}
"""Each with the number of items in a slice."""

RATIOS = [
    ("ours, groups of 32", "persist-queue", 8.0),
    ("ours", "persist-queue", 1.0),
    ("ours", "ceiling", 0.85),
    ("ours, groups of 32", "ceiling, groups of 32", 0.85),
]


def alternate(base: Path, rounds: int) -> dict[str, list[float]]:
    """Items a second of all contenders, slice by slice in turned order: speed drifts while this runs."""
    names = [name for name in CONTENDERS if name != "persist-queue" or _has_persist_queue()]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        with contextlib.ExitStack() as stack:
            cycles = {}
            for name in names:
                (path / name).mkdir()
                cycles[name] = stack.enter_context(CONTENDERS[name][0](path / name))
                cycles[name](GROUP)
            for number in range(rounds):
                turned = names[number % len(names) :] + names[: number % len(names)]
                for name in turned:
                    count = CONTENDERS[name][1]
                    start = time.perf_counter()
                    cycles[name](count)
                    speeds[name].append(count / (time.perf_counter() - start))
    finally:
        shutil.rmtree(path)
    return speeds


def many_processes(base: Path, seconds: float) -> tuple[float, float]:
    """Items a second of one process and of eight on one spool, each put, claimed and acked durably."""
    results = []
    for processes in (1, PROCESSES):
        path = Path(tempfile.mkdtemp(dir=base))
        Queue(path / "spool").close()
        words = [sys.executable, "-m", "benchmarks.queue", "--cycle", str(path / "spool"), str(seconds)]
        running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        results.append(sum(int(process.communicate()[0]) for process in running) / seconds)
        shutil.rmtree(path)
    return results[0], results[1]


def cycle_for(spool: str, seconds: float) -> int:
    """Put one, claim one (anybody's), ack it, for so long; how often."""
    count = 0
    with Queue(spool, create=False) as queue:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            queue.put(MESSAGE, SENDER, [RECIPIENT])
            for claim in queue.claim():
                claim.ack()
                count += 1
    return count


def fill(spool: Path, count: int, ahead: int = 0) -> None:
    """Make a backlog without any fsync: what is measured afterwards is not how it came there."""
    Queue(spool).close()
    from maildir_safe.fs import OsFileSystem
    from maildir_safe.queue.bucket import LIMIT, Bucket, period

    head = f"Return-Path: <{SENDER}>\nDelivered-To: {RECIPIENT}\n".encode()
    ids, now = ItemIds(OsFileSystem(), "bench"), time.time()
    content, dir_fd = head + b"x\n", -1
    for number in range(count):
        due = int(now + ahead + number % 86400) if ahead else 0
        if number % LIMIT == 0:
            bucket = spool / "pending" / Bucket(period(due, now), "bench-0", number // LIMIT).name
            bucket.mkdir()
            if dir_fd >= 0:
                os.close(dir_fd)
            dir_fd = os.open(bucket, os.O_RDONLY)
        name = Item(ids.new(), len(content), 0, 0, due, "o").name
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


def main() -> None:
    """Measure, print, and save."""
    if sys.argv[1:2] == ["--cycle"]:
        print(cycle_for(sys.argv[2], float(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--backlog", type=int, default=1_000_000, help="the larger of the two backlogs")
    parser.add_argument("--backlog-in", type=Path, help="where backlogs are made, a tmpfs for instance")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    speeds = alternate(args.directory, args.rounds)
    print(
        f"put + claim + ack of 4 KiB, items a second, median of {args.rounds} (least - most), "
        f"load {os.getloadavg()[0]:.0f}"
    )
    for name, values in speeds.items():
        print(f"  {name:<24}{statistics.median(values):>9.0f}   ({min(values):.0f} - {max(values):.0f})")
    figures: dict[str, float] = {}
    for one, other, target in RATIOS:
        if one in speeds and other in speeds:
            ratio = statistics.median(a / b for a, b in zip(speeds[one], speeds[other], strict=True))
            _say(figures, f"{one} / {other}", ratio, ">=", target)
    pairs = [many_processes(args.directory, 3.0) for _ in range(7)]
    ratio = statistics.median(together / alone for alone, together in pairs)
    _say(figures, f"{PROCESSES} processes / one", ratio, ">=", 2.0)
    where = args.backlog_in or args.directory
    ratio = backlog_costs(where, (1000, args.backlog))
    _say(figures, f"cost of a cycle at {args.backlog} waiting / at 1000", ratio, "<=", 1.3)
    _say(
        figures,
        "share of a core, idle beside 100000 future items",
        idle_share(where, 100_000, 10.0),
        "<=",
        0.01,
    )
    if args.json:
        args.json.write_text(json.dumps({"speeds": speeds, "figures": figures}, indent=1) + "\n")


def _say(figures: dict[str, float], what: str, value: float, sign: str, target: float) -> None:
    figures[what] = value
    good = value >= target if sign == ">=" else value <= target
    print(f"  {what:<60}{value:>8.3f}   {sign} {target}  {'reached' if good else 'MISSED'}")


def _directories(path: Path) -> list[int]:
    made = [path / name for name in ("tmp", "pending", "claimed")]
    for directory in made:
        directory.mkdir()
    return [os.open(directory, os.O_RDONLY | os.O_DIRECTORY) for directory in made]


def _has_persist_queue() -> bool:
    try:
        import persistqueue  # noqa: F401
    except ImportError:
        print("persist-queue is not installed, and does not take part: pip install persist-queue")
        return False
    return True


if __name__ == "__main__":
    main()
