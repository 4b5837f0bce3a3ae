"""Real processes on a real file system: killed at any moment, stopped past their lease, and counted."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue

HOSTS = Path(__file__).with_name("queue_hosts.py")
LEASE = 3


class Crew:
    """Putters and workers of one test, and what they have said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool, self.maildir = path / "spool", path / "maildir"
        Queue(self.spool).close()
        Maildir(self.maildir)
        self.processes: list[subprocess.Popen[str]] = []
        self.count = 0

    def start(self, *words: object) -> subprocess.Popen[str]:
        self.count += 1
        with open(self.path / f"log.{self.count}", "w") as log:
            process = subprocess.Popen(
                [sys.executable, str(HOSTS), *map(str, words)],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.processes.append(process)
        return process

    def putter(self, first: int, count: int) -> subprocess.Popen[str]:
        return self.start("put", self.spool, self.path / f"ledger.{first}", first, count)

    def worker(self, *marker: object) -> subprocess.Popen[str]:
        return self.start("work", self.spool, self.maildir, LEASE, *marker)

    def log_of(self, process: subprocess.Popen[str]) -> str:
        return (self.path / f"log.{self.processes.index(process) + 1}").read_text()

    def accepted(self) -> list[tuple[str, str]]:
        lines = [
            line.split() for ledger in self.path.glob("ledger.*") for line in ledger.read_text().splitlines()
        ]
        return [(number, ident) for number, ident in lines]

    def delivered(self) -> Counter[str]:
        """How often each id is in the Maildir."""
        return Counter(name.name.partition(",")[0] for name in (self.maildir / "new").iterdir())

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    made = Crew(tmp_path)
    yield made
    made.end()


def until(done: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def reckon(crew: Crew) -> None:
    accepted = crew.accepted()
    until(lambda: sum(crew.delivered().values()) >= len(accepted))
    with Queue(crew.spool, create=False) as queue:
        until(lambda: queue.stats()["pending"] + queue.stats()["claimed"] == 0)
    delivered = crew.delivered()
    assert {ident for _, ident in accepted} <= set(delivered), "accepted, and not there"
    assert {ident: n for ident, n in delivered.items() if n != 1} == {}, "more than once"
    subjects = Counter(
        path.read_bytes().split(b"Subject: ")[1].partition(b"\n")[0].decode()
        for path in (crew.maildir / "new").iterdir()
    )
    assert {number for number, _ in accepted} <= set(subjects)
    print(
        f"{len(accepted)} accepted, {sum(delivered.values())} in the Maildir, {len(set(subjects))} different"
    )


def test_workers_and_putters_are_killed_at_random(crew: Crew) -> None:
    chance = random.Random(4)
    putters = [crew.putter(first, 150) for first in (0, 1000)]
    workers = [crew.worker() for _ in range(3)]
    kills = 0
    while any(putter.poll() is None for putter in putters) or kills < 6:
        time.sleep(chance.uniform(0.1, 0.5))
        victim = chance.randrange(len(workers))
        workers[victim].kill()
        workers[victim].wait()
        workers[victim] = crew.worker()
        kills += 1
    assert all(putter.returncode == 0 for putter in putters)
    assert len(crew.accepted()) == 300
    reckon(crew)
    print(f"{kills} workers killed")


def test_a_putter_that_is_killed_loses_nothing_that_it_was_told_is_there(crew: Crew) -> None:
    crew.worker()
    for first in range(0, 5000, 1000):
        putter = crew.putter(first, 1000)
        time.sleep(0.6)
        putter.send_signal(signal.SIGKILL)
        putter.wait()
    assert crew.accepted()
    reckon(crew)


def test_a_worker_that_stands_still_past_its_lease_is_told_so(crew: Crew) -> None:
    marker = crew.path / "claimed"
    crew.putter(0, 20).wait()
    stopped = crew.worker(marker)
    until(marker.exists)
    until(lambda: bool(marker.read_text()))
    stopped.send_signal(signal.SIGSTOP)
    other = crew.worker()
    until(lambda: sum(crew.delivered().values()) == 20)
    assert other.poll() is None
    held = marker.read_text()
    marker.unlink()
    stopped.send_signal(signal.SIGCONT)
    until(lambda: f"LeaseLost: {held}" in crew.log_of(stopped))
    reckon(crew)
