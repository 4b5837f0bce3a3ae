"""Whether mail can be stored now: trials in a thread that may hang, at most one at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEADLINE = 5.0
"""Seconds after which a trial without an answer counts as failed."""

RETRY = 1.0
"""Seconds between two rounds of trials while one fails, or while somebody asks for a fresh answer."""

PERIOD = 5.0
"""Seconds between two rounds while all is well and new sessions ask."""

_POLL = 0.02


class StorageCheck:
    """Tries every store, when asked and not more often than `RETRY` or `PERIOD` allows. Thread-safe.

    Nothing runs while nobody asks. A round of trials has a thread of its own, which nobody waits for
    at the end of the process. While it hangs, no other round begins; when the storage answers again,
    the round ends, and the next answer is a new one.

    Args:
        trials: for each store a name for the operator, and a call that raises `OSError` if nothing
            can be stored there.
        deadline: see `DEADLINE`.
    """

    def __init__(self, trials: Mapping[str, Callable[[], None]], deadline: float = DEADLINE) -> None:
        self._trials = trials
        self._deadline = deadline
        self._lock = threading.Lock()
        self._trouble = ""
        self._began = -PERIOD  # of the last round
        self._running = False
        self._tried = ""
        self._ending = False

    def shut_down(self) -> None:
        """Say from now on that this process ends, so that a load balancer turns to another."""
        self._ending = True

    def watch(self, trials: Mapping[str, Callable[[], None]]) -> None:
        """Try other stores from the next round on, as the argument of the class says."""
        self._trials = trials

    def trouble(self) -> str:
        """Why mail cannot be stored, as far as is known; ``""`` if it can. Never waits.

        Begins a new round if the last one is too old.
        """
        with self._lock:
            self._begin(RETRY if self._trouble else PERIOD)
            return self._known()

    async def fresh_trouble(self) -> str:
        """As `trouble`, from a round that is at most `RETRY` old; waits for it, at most the deadline."""
        with self._lock:
            self._begin(RETRY)
        while True:
            with self._lock:
                if self._ending or not self._running or self._overdue():
                    return self._known()
            await asyncio.sleep(_POLL)

    def _overdue(self) -> bool:
        return self._running and time.monotonic() - self._began >= self._deadline

    def _known(self) -> str:
        if self._ending:
            return "shutting down"
        if self._overdue():
            return f"{self._tried}: no answer for {time.monotonic() - self._began:.0f} seconds"
        return self._trouble

    def _begin(self, period: float) -> None:
        now = time.monotonic()
        if not self._running and now - self._began >= period:
            self._running, self._began = True, now
            try:
                threading.Thread(target=self._round, name="maildir-safe-health", daemon=True).start()
            except RuntimeError as error:  # no more threads: then nothing can be stored either
                self._running, self._trouble = False, str(error)

    def _round(self) -> None:
        trouble = ""
        for name, trial in self._trials.items():
            self._tried = name
            try:
                trial()
            except OSError as error:
                trouble = f"{name}: {error.strerror or error}"
                break
            except Exception as error:  # noqa: BLE001 - or the round would seem to hang for ever
                trouble = f"{name}: {error!r}"
                break
        with self._lock:
            self._running, self._trouble = False, trouble
