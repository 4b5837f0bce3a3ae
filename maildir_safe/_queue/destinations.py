"""Limits the items on their way to each destination, so that one that hangs does not hold up others."""

from __future__ import annotations

from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STALLED_AFTER = 30.0
"""Seconds after which a delivery to a mount counts as stalled: nothing more goes there."""

SLOW_AFTER = 10.0
"""Seconds after which a delivery to a server no longer occupies a slot: the server may hang."""

MOST_SLOW = 100
"""Most deliveries without a slot; each has a thread."""


class Visit:
    """One item on its way to a destination.

    Attributes:
        destination: its name.
        since: when it began, on the MONOTONIC clock, in seconds.
        may_stall: the destination gets no more items while one is stalled (`HasDestinations`).
    """

    __slots__ = ("destination", "may_stall", "since")

    def __init__(self, destination: str, since: float, may_stall: bool) -> None:
        self.destination = destination
        self.since = since
        self.may_stall = may_stall

    def has_stalled(self, now: float) -> bool:
        """Whether it has taken so long that nothing more should go there."""
        return self.may_stall and now - self.since > STALLED_AFTER

    def is_slow(self, now: float) -> bool:
        """Whether it has taken so long that other destinations should not wait for it."""
        return now - self.since > (STALLED_AFTER if self.may_stall else SLOW_AFTER)


class InHand:
    """An item that a thread is working on.

    Attributes:
        since: when the thread started, on the MONOTONIC clock, in seconds.
        visit: its visit to a destination; None before it has one.
        has_slot: whether it occupies one of the worker's `concurrency` slots.
    """

    __slots__ = ("has_slot", "since", "visit")

    def __init__(self, since: float) -> None:
        self.since = since
        self.visit: Visit | None = None
        self.has_slot = True


class Destinations:
    """The items that are on their way, by destination. Thread-safe.

    Args:
        limit: most items at a time per destination.
        clock: returns the MONOTONIC time, in seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = Lock()
        self._visits: defaultdict[str, set[Visit]] = defaultdict(set)

    def enter(self, destination: str, may_stall: bool) -> Visit | None:
        """Begin a delivery; None if the destination is at its limit or stalled."""
        now = self._clock()
        with self._lock:
            visits = self._visits[destination]
            if len(visits) >= self._limit or any(visit.has_stalled(now) for visit in visits):
                return None
            visit = Visit(destination, now, may_stall)
            visits.add(visit)
            return visit

    def leave(self, visit: Visit) -> None:
        """End a delivery, even if the worker no longer waits for it."""
        with self._lock:
            visits = self._visits[visit.destination]
            visits.discard(visit)
            if not visits:
                del self._visits[visit.destination]
