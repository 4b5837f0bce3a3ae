"""Real processes on a real file system: killed at any moment, stopped past their lease, and counted."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from queue_crew import Crew, until

from maildir_safe import Maildir, Queue


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    made = Crew([tmp_path], tmp_path, lease=3)
    yield made
    made.end()


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
    print(f"{crew.reckon()}; {kills} workers killed")


def test_a_putter_that_is_killed_loses_nothing_that_it_was_told_is_there(crew: Crew) -> None:
    crew.worker()
    chance = random.Random(5)
    for first in range(0, 5000, 1000):
        putter = crew.putter(first, 1000)
        before, more = len(crew.accepted()), chance.randrange(1, 100)
        until(lambda: len(crew.accepted()) >= before + more)  # noqa: B023 - called at once
        putter.send_signal(signal.SIGKILL)
        putter.wait()
    assert crew.accepted()
    print(crew.reckon())


def test_a_worker_that_stands_still_past_its_lease_is_told_so(crew: Crew) -> None:
    marker = crew.logs / "claimed"
    crew.putter(0, 20).wait()
    stopped = crew.worker(marker)
    until(lambda: marker.exists() and bool(marker.read_text()))
    crew.signal(stopped, signal.SIGSTOP)
    other = crew.worker()
    until(lambda: sum(crew.delivered().values()) == 20)
    assert other.poll() is None
    held = marker.read_text()
    marker.unlink()
    crew.signal(stopped, signal.SIGCONT)
    until(lambda: f"LeaseLost: {held}" in crew.log_of(stopped))
    print(crew.reckon())


def test_many_threads_share_one_queue(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "maildir")
    accepted: list[str] = []
    with Queue(tmp_path / "spool") as queue:

        def put() -> None:
            accepted.extend(queue.put(b"x\n", "", ["a@example.org"]) for _ in range(40))

        def work() -> None:
            while putting.is_alive() or queue.stats()["pending"]:
                for claim in queue.claim(3, wait=0.2):
                    claim.ack_into(maildir)

        def put_all() -> None:
            putters = [threading.Thread(target=put) for _ in range(8)]
            for putter in putters:
                putter.start()
            for putter in putters:
                putter.join()

        putting = threading.Thread(target=put_all)
        workers = [threading.Thread(target=work) for _ in range(6)]
        for thread in (putting, *workers):
            thread.start()
        for thread in (putting, *workers):
            thread.join()
        assert queue.stats()["claimed"] == 0
    assert len(accepted) == 320
    assert sorted(message.key.partition(",")[0] for message in maildir.messages()) == sorted(accepted)
