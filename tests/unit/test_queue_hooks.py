"""Code that is anybody's: metrics, log handlers, all methods of a courier. None of it sends mail twice."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.worker import Worker
from tests.model.queue_world import LEASE, Actor, Ledger, new_server


def with_one_item() -> Actor:
    actor = Actor(new_server(), Ledger())
    actor.put("one")
    return actor


def turns(actor: Actor, worker: Worker, count: int = 4) -> None:
    for _ in range(count):
        for claim in actor.claim(5):
            worker.handle(claim)
        actor.server.advance(LEASE / 3)
        actor.tend()


class Raising:
    """Metrics, or a log handler, of which everything raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(record.msg)


@pytest.mark.parametrize("hook", ["metrics", "log"])
def test_a_hook_that_raises_after_the_message_was_taken_does_not_send_it_again(hook: str) -> None:
    actor = with_one_item()
    sent: list[str] = []
    handler, log = RaisingHandler(), logging.getLogger("maildir_safe.queue")
    level = log.level
    if hook == "log":
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        metrics: Any = Raising() if hook == "metrics" else None
        worker = Worker(actor.queue, lambda request: sent.append(request.id), metrics=metrics)
        turns(actor, worker)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    assert len(sent) == 1
    assert worker.delivered == 1
    assert actor.queue.stats()["pending"] == actor.queue.stats()["claimed"] == 0


class Odd:
    """A courier with all three methods, of which one misbehaves."""

    def __init__(self, method: str, does: Any) -> None:
        self._method = method
        self._does = does
        self.asked = 0

    def _answer(self, method: str, good: Any) -> Any:
        if method != self._method:
            return good
        self.asked += 1
        if isinstance(self._does, Exception):
            raise self._does
        return self._does

    def __call__(self, request: DeliveryRequest) -> Any:
        return {who: RecipientStatus(451, "4.0.0 not now") for who in request.recipients}

    def deliver_file(self, *_: object) -> Any:
        return self._answer("deliver_file", RecipientStatus(451, "4.0.0 not now"))

    def destination(self, _: str) -> Any:
        return self._answer("destination", "somewhere")


@pytest.mark.parametrize("method", ["deliver_file", "destination"])
@pytest.mark.parametrize("does", [ValueError("no"), OSError(5, "no"), None, [], True], ids=repr)
def test_nonsense_from_any_method_is_a_451_with_a_note_and_a_delay(method: str, does: Any) -> None:
    """The item returned without an attempt, a note or a delay, and was never given up."""
    actor, courier = with_one_item(), Odd(method, does)
    worker = Worker(actor.queue, courier)
    turns(actor, worker, 1)
    assert (courier.asked, worker.deferred) == (1, 1)
    [entry] = actor.queue.items()
    assert entry.item.tries == 1
    assert entry.item.not_before > actor.host.time_ns() / 1e9 - LEASE / 3
    [note] = actor.queue.why(entry.item.id)
    assert note["recipients"]["r@example.org"][0] == 451
