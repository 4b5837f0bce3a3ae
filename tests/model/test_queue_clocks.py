"""Hosts whose clocks differ by days: an item is given up after it was tried for days, not by one clock."""

from __future__ import annotations

import io

import pytest

from maildir_safe._queue.couriers.courier import DeliveryRequest, RecipientStatus
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.worker import Worker
from maildir_safe.testing.simfs import SimHost, SimServer
from tests.model.queue_world import LEASE, SPOOL, Actor, Ledger, Queue, new_server

DAY = 86400.0


class Busy:
    """A courier whose server is not there."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        self.asked += request.recipients
        return {recipient: RecipientStatus(451, "4.4.1 no answer") for recipient in request.recipients}


def queue_of(server: SimServer, name: str, ahead: float) -> Queue:
    host = SimHost(server, name, clock_offset=ahead)
    return Queue(SPOOL, create=False, fs=host, heartbeat=False, lease=LEASE)


def try_once(queue: Queue, courier: Busy) -> None:
    worker = Worker(queue, courier)
    for claim in queue.claim(10, bounces=True):
        worker.handle(claim)


@pytest.mark.parametrize("ahead", [-30 * DAY, -6 * DAY, 4 * DAY, 6 * DAY, 30 * DAY, 3000 * DAY])
def test_the_first_temporary_failure_gives_nothing_up(ahead: float) -> None:
    server, courier = new_server("nfs4"), Busy()
    queue_of(server, "putter", 0.0).put(b"Subject: one\n\n", "s@example.org", ["r@example.org"])
    worker = queue_of(server, "worker", ahead)
    for _ in range(3):
        try_once(worker, courier)
        server.advance(10.0)
    assert courier.asked in ([], ["r@example.org"]), "its sender was told after one try"
    [path] = [path for path in server.files() if path.startswith((f"{SPOOL}/pending", f"{SPOOL}/failed"))]
    assert path.startswith(f"{SPOOL}/pending/")
    assert path.endswith(",o"), "given up"


@pytest.mark.parametrize("ahead", [0.0, 6 * DAY])
def test_it_is_given_up_in_the_end(ahead: float) -> None:
    """Tried over and over by the worker's own clock, for the schedule's time and not for ever."""
    server, courier = new_server("nfs4"), Busy()
    queue_of(server, "putter", 0.0).put(b"Subject: one\n\n", "s@example.org", ["r@example.org"])
    worker = queue_of(server, "worker", ahead)
    tried = 0
    for _ in range(int(3 * Schedule().give_up / 3600)):
        try_once(worker, courier)
        tried = courier.asked.count("r@example.org")
        if "s@example.org" in courier.asked:
            break
        worker.tend()
        server.advance(3600.0)
    assert "s@example.org" in courier.asked, "its sender is never told"
    assert tried > 10


def test_two_workers_with_different_clocks_give_nothing_up_early() -> None:
    server, courier = new_server("nfs4"), Busy()
    actor = Actor(server, Ledger(), "putter")
    actor.queue.put(io.BytesIO(b"Subject: one\n\n"), "s@example.org", ["r@example.org"])
    workers = [queue_of(server, "a", 20 * DAY), queue_of(server, "b", -20 * DAY)]
    for number in range(12):
        try_once(workers[number % 2], courier)
        for worker in workers:
            worker.tend()
        server.advance(7200.0)
    assert "s@example.org" not in courier.asked, "a day has passed, and five are promised"
