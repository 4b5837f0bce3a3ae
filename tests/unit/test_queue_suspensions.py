"""A destination that cannot be reached is left alone for a while: by all its mail, and after a restart."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from maildir_safe import Queue
from maildir_safe._cli import main
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._names import host_token
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.suspensions import LONGEST, PREFIX, Suspensions
from maildir_safe._queue.worker import Worker

MESSAGE = b"Subject: hello\n\n"
DOWN = RecipientStatus(451, "4.4.2 the next server cannot be reached now")
BUSY = RecipientStatus(451, "4.3.2 try again")
HAS_IT = RecipientStatus(250, "2.0.0 taken")


class Clock(OsFileSystem):
    """The system's file system, with a wall clock that is set by hand."""

    now = 1_800_000_000.0

    def time_ns(self) -> int:
        return int(self.now * 1e9)


def table(tmp_path: Path, clock: Clock, first: float = 60.0) -> Suspensions:
    return Suspensions(clock, str(tmp_path), "mx", first)


def test_waits_double_up_to_ten_minutes_and_a_success_ends_them(tmp_path: Path) -> None:
    clock = Clock()
    found = table(tmp_path, clock)
    waits = []
    for _ in range(6):
        found.record("down", [DOWN])
        began = clock.now
        while found.status("down"):
            clock.now += 1
        waits.append(clock.now - began)
    assert waits == [54, 108, 216, 432, 540, 540]
    assert found.status("other") is None
    found.record("down", [HAS_IT])
    found.record("down", [DOWN])
    clock.now += 54
    assert found.status("down") is None


@pytest.mark.parametrize("statuses", [[HAS_IT], [BUSY], [DOWN, BUSY], [RecipientStatus(550, "5.4.4 x")]])
def test_a_server_that_answers_is_not_left_alone(tmp_path: Path, statuses: list[RecipientStatus]) -> None:
    found = table(tmp_path, Clock())
    found.record("up", statuses)
    assert found.status("up") is None


def test_failures_that_ended_together_count_once(tmp_path: Path) -> None:
    clock = Clock()
    found = table(tmp_path, clock)
    for _ in range(10):
        found.record("down", [DOWN])
    clock.now += 54
    assert found.status("down") is None


def test_a_new_process_knows_them(tmp_path: Path) -> None:
    clock = Clock()
    found = table(tmp_path, clock)
    found.record("down", [DOWN])
    clock.now += 60
    found.record("down", [DOWN])
    found.save()
    clock.now += 100
    later = table(tmp_path, clock)
    assert later.status("down") is not None
    clock.now += 10
    assert later.status("down") is None
    later.record("down", [DOWN])  # the third failure in succession
    clock.now += 215
    assert later.status("down") is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b'{"down": 1}', b'{"down": [1, "x"]}', b'{"down": [0, 1800000001.0]}', b"[" * 100_000,
     b'{"down": [1, 1e400]}', b'{"down": [1, 1900000000.0]}', b"x" * (1 << 21),
     json.dumps({f"d{n}": [1, 1_800_000_001.0] for n in range(6000)}).encode()],
)  # fmt: skip
def test_a_table_that_somebody_forged_suspends_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{PREFIX}mx").write_bytes(content)
    found = table(tmp_path, Clock())
    assert found.status("down") is None
    assert found.status("d1") is None
    found.record("down", [DOWN])
    assert found.status("down") is not None


def test_a_clock_that_is_set_back_suspends_nothing_for_longer(tmp_path: Path) -> None:
    clock = Clock()
    found = table(tmp_path, clock)
    found.record("down", [DOWN])
    clock.now -= LONGEST + 86_400
    assert found.status("down") is None


def test_the_table_is_bounded(tmp_path: Path) -> None:
    found = table(tmp_path, Clock())
    for number in range(5_100):
        found.record(f"d{number}", [DOWN])
    found.record("x" * 300, [DOWN])
    found.save()
    stored = json.loads((tmp_path / f"{PREFIX}mx").read_bytes())
    assert len(stored) == 5_000
    assert "d5099" in stored


# In a worker


class Network:
    """A courier to servers, of which those of some domains do not answer."""

    def __init__(self, *down: str) -> None:
        self.down = down
        self.tried: Counter[str] = Counter()

    def __call__(self, request: DeliveryRequest) -> Mapping[str, RecipientStatus]:
        domain = request.recipients[0].partition("@")[2]
        self.tried[domain] += 1
        return dict.fromkeys(request.recipients, DOWN if domain in self.down else HAS_IT)


def work(spool: Path, network: Network) -> Worker:
    with Queue(spool) as queue:
        worker = Worker(queue, network, schedule=Schedule(), concurrency=1)
        worker.run_once()
    return worker


def put(spool: Path, domain: str, count: int) -> None:
    with Queue(spool) as queue:
        queue.put_many([(MESSAGE, "", [f"u{n}@{domain}"]) for n in range(count)])


def test_a_server_that_is_down_is_tried_once_for_all_its_mail_and_not_after_a_restart(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    put(spool, "down.example", 20)
    put(spool, "up.example", 20)
    network = Network("down.example")
    first = work(spool, network)
    assert network.tried == {"down.example": 1, "up.example": 20}
    assert (first.delivered, first.deferred) == (20, 20)
    put(spool, "down.example", 20)  # new mail, which is due at once
    second = work(spool, network)
    assert network.tried["down.example"] == 1
    assert second.deferred == 20
    with Queue(spool, create=False) as queue:
        entries = list(queue.items())
        assert len(entries) == 40
        assert {entry.item.tries for entry in entries} == {1}  # so that the time for attempts ends in time
        assert all(entry.item.not_before > 0 for entry in entries)


def test_the_file_is_no_stray_for_fsck(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = tmp_path / "spool"
    put(spool, "down.example", 1)
    work(spool, Network("down.example"))
    assert (spool / f"{PREFIX}{host_token(os.uname().nodename)}").exists()
    assert main(["fsck", str(spool)]) == 0, capsys.readouterr()
