"""A worker's slots: a slot that is free takes the next item, whatever the others do."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from maildir_safe import Queue
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue import worker as worker_module
from maildir_safe._queue.couriers.courier import DeliveryRequest, same_status
from maildir_safe._queue.slots import Slots
from maildir_safe._queue.worker import Worker


def test_all_that_are_free_are_taken() -> None:
    slots = Slots(8)
    assert slots.take(0) == 8
    assert slots.take(0) == 0
    slots.give_back(3)
    assert slots.take(60) == 3  # more than a quarter: it does not wait


def test_it_waits_for_the_first() -> None:
    slots = Slots(2)
    assert slots.take(0) == 2
    threading.Thread(target=slots.give_back).start()
    assert slots.take(60) == 1


@pytest.mark.parametrize("once", [True, False])
def test_a_slow_message_does_not_hold_up_those_behind_it(
    once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MOST_SLOW", 0)  # it keeps its slot, however long it takes
    last_came, held_up, numbers = threading.Event(), [], itertools.count(1)

    def courier(request: DeliveryRequest) -> dict[str, RecipientStatus]:
        number = next(numbers)
        if number == 1 and not last_came.wait(60):
            held_up.append("those behind it were not sent")
        if number == 3:
            last_came.set()
            worker.stop()
        return same_status(request, RecipientStatus(250, "2.0.0 sent"))

    with Queue(tmp_path / "spool") as queue:
        for number in range(3):
            queue.put(b"Subject: one\n\n", "ann@example.com", [f"bob{number}@example.org"])
        worker = Worker(queue, courier, concurrency=2)
        if once:
            assert worker.run_once() == 3
        else:
            worker.run(grace=60)
        assert (worker.delivered, held_up) == (3, [])
