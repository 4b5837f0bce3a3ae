"""The threads that answer calls: one for quick calls; as many as hang, and one more."""

from __future__ import annotations

import queue
import threading
from typing import Any

from maildir_safe._shim.threads import Threads


class Source:
    """A listener whose calls are put by the test; None ends a thread."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Any] = queue.Queue()

    def receive(self) -> Any:
        return self.calls.get()


def failed(question: object, error: Exception) -> None:
    raise AssertionError((question, error))


def started(source: Source, handle: Any) -> Threads:
    threads = Threads(source, handle, failed)  # type: ignore[arg-type]
    threads.start()
    return threads


def test_quick_calls_have_one_thread(monkeypatch: Any) -> None:
    monkeypatch.setattr("maildir_safe._shim.threads._TICK", 60)  # also where this process has to wait
    source, who, done = Source(), set(), threading.Event()

    def handle(call: int) -> None:
        who.add(threading.get_ident())
        if call == 499:
            done.set()

    started(source, handle)
    for number in range(500):
        source.calls.put(number)
    assert done.wait(20)
    assert len(who) == 1


def test_calls_that_hang_hold_up_nobody() -> None:
    source, go, begun, quick = Source(), threading.Event(), threading.Semaphore(0), threading.Event()

    def handle(call: str) -> None:
        if call == "quick":
            quick.set()
        else:
            begun.release()
            go.wait(60)

    threads = started(source, handle)
    for _ in range(50):
        source.calls.put("hangs")
    for _ in range(50):
        assert begun.acquire(timeout=20)
    source.calls.put("quick")
    assert quick.wait(20)
    go.set()
    for _ in range(200):
        source.calls.put("hangs")  # they no longer do
        assert begun.acquire(timeout=20)
    assert threads._running <= 60
    for _ in range(threads._running):
        source.calls.put(None)


def test_a_call_after_a_long_rest_is_watched(monkeypatch: Any) -> None:
    """The watcher has fallen asleep, and is woken."""
    monkeypatch.setattr("maildir_safe._shim.threads._IDLE", 2)
    source, go, second = Source(), threading.Event(), threading.Event()

    def handle(call: int) -> None:
        if call == 1:
            go.wait(60)
        else:
            second.set()

    threads = started(source, handle)
    for _ in range(2000):
        if threads._asleep:
            break
        threading.Event().wait(0.005)
    assert threads._asleep
    source.calls.put(1)
    source.calls.put(2)
    assert second.wait(20)
    go.set()


def test_slow_calls_get_more_threads() -> None:
    """None hangs for as long as a tick, so there is always progress; others must not wait for them all."""
    source, who, several = Source(), set(), threading.Event()

    def handle(call: float) -> None:
        who.add(threading.get_ident())
        if len(who) > 3:
            several.set()
        threading.Event().wait(call)

    started(source, handle)
    for _ in range(20_000):
        source.calls.put(0.002)
    assert several.wait(30)
    while not source.calls.empty():
        source.calls.get()
