"""The threads that answer calls: one, as long as each call takes little time, and more if calls hang.

Only one thread of Python runs at a time, so several that have much to do only hinder each other: one is the
fastest. But a call on a mount may hang, and must not hold up others. So a watcher looks often whether there
was progress, and starts more threads if not; and also, one by one, if all are busy for long with little work
of the processor's: calls that are slow, though none hangs.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._shim.listener import Listener, Question

MOST = 1024
"""Calls that may hang at the same time without delaying others."""

_MOST_SPARE = 16
_TICK = 0.005  # seconds that a call may hold up others
_IDLE = 200  # ticks without a call, after which the watcher sleeps; without a hang, after which a spare ends
_SLOW = 20  # ticks of slow calls, after which there is one thread more


class Threads:
    """Receives and answers calls.

    Args:
        listener: the source of calls.
        handle: answers one call; `failed` receives its exceptions.
        failed: called with the question and the exception.
    """

    def __init__(
        self,
        listener: Listener,
        handle: Callable[[Question], None],
        failed: Callable[[Question, Exception], None],
    ) -> None:
        self._listener = listener
        self._handle = handle
        self._failed = failed
        self._lock = threading.Lock()
        self._waiting = 0  # threads that wait for a call
        self._running = 0
        self._begun = 0  # calls
        self._spare = 1  # the most that may wait; few, since each call wakes all of them
        self._asleep = False
        self._wake = threading.Event()

    def start(self) -> None:
        """Start to answer.

        Raises:
            RuntimeError: there can be no more threads.
        """
        self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self) -> None:
        with self._lock:
            self._waiting += 1
            self._running += 1
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._waiting -= 1
                self._running -= 1
            raise

    def _run(self) -> None:
        while True:
            question = self._listener.receive()
            if question is None:
                return
            with self._lock:
                self._waiting -= 1
                self._begun += 1
                asleep = self._asleep
            if asleep:
                self._wake.set()
            try:
                self._handle(question)
            except Exception as error:  # noqa: BLE001 - the caller must be answered
                self._failed(question, error)
            with self._lock:
                if self._waiting >= self._spare:
                    self._running -= 1
                    return
                self._waiting += 1

    def _watch(self) -> None:
        begun = quiet = calm = 0
        slow = _Slowness()
        while True:
            time.sleep(_TICK)
            with self._lock:
                progress = begun != self._begun
                begun = self._begun
                stuck = not self._waiting and not progress
                more = min(self._running, MOST - self._running) if stuck else 0
                if slow.seen(not self._waiting) and self._running < _MOST_SPARE:
                    more = max(more, 1)
                quiet = 0 if progress or stuck else quiet + 1
                calm = 0 if more else calm + 1
                if more:
                    self._spare = min(_MOST_SPARE, max(self._spare, self._running + more))
                elif calm % _IDLE == 0:
                    self._spare = max(1, self._spare // 2)
                self._asleep = quiet > _IDLE
            try:
                for _ in range(more):
                    self._start()
            except RuntimeError:
                pass  # a limit of tasks: those that there are go on, and we try again
            if self._asleep:
                self._wake.wait()
                self._wake.clear()
                quiet = 0


class _Slowness:
    """Whether all threads were busy for some time, and the processor was not."""

    def __init__(self) -> None:
        self._ticks = 0
        self._began = self._worked = 0.0

    def seen(self, busy: bool) -> bool:
        """Note one more tick; whether it is the last of a slow time."""
        if not busy:
            self._ticks = 0
            return False
        if not self._ticks:
            self._began, self._worked = time.monotonic(), time.process_time()
        self._ticks += 1
        if self._ticks < _SLOW:
            return False
        self._ticks = 0
        return time.process_time() - self._worked < (time.monotonic() - self._began) / 4
