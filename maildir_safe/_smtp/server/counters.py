"""Counts and times of deliveries in all worker processes, for the metrics."""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left
from itertools import accumulate

RESULTS = ("stored", "deferred", "refused")
"""Outcomes of a message: stored for every recipient; otherwise deferred (4xx) or refused (5xx), by its
worst reply."""

BOUNDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets, in seconds. An fsync into a controller's cache takes 0.1 ms; one
on NFS may take 30 s while the server restarts."""

_RENAMES = len(RESULTS)
_DELIVERIES = _RENAMES + 1
_WIDTH = len(BOUNDS) + 2  # one count per bucket, one for longer times, and the sum in microseconds
_FSYNCS = _DELIVERIES + _WIDTH
_SLOT = _FSYNCS + _WIDTH


class Counters:
    """Shared counts, created before the workers are forked. A worker writes its own slot and reads all slots.

    Thread-safe: fsyncs are counted in the threads that call them.

    Args:
        workers: number of slots.
    """

    def __init__(self, workers: int = 1) -> None:
        self._slots = memoryview(mmap.mmap(-1, 8 * _SLOT * workers)).cast("q")
        self._mine = 0
        self._lock = threading.Lock()

    def use_slot(self, worker: int) -> None:
        """Count in slot `worker` from now on. The counts of a dead worker in that slot are kept."""
        self._mine = _SLOT * worker

    def message(self, result: str, seconds: float) -> None:
        """Count a message: `result` is one of `RESULTS`, `seconds` the time from DATA to the reply."""
        with self._lock:
            self._slots[self._mine + RESULTS.index(result)] += 1
            self._observe(_DELIVERIES, seconds)

    def fsync(self, seconds: float) -> None:
        """Count an fsync of a file or a directory, or a syncfs that replaces the fsyncs of a batch."""
        with self._lock:
            self._observe(_FSYNCS, seconds)

    def ambiguous_rename(self) -> None:
        """Count a rename that failed: the server may have executed it, so the directories must be checked."""
        with self._lock:
            self._slots[self._mine + _RENAMES] += 1

    def _observe(self, histogram: int, seconds: float) -> None:
        start = self._mine + histogram
        self._slots[start + bisect_left(BOUNDS, seconds)] += 1
        self._slots[start + _WIDTH - 1] += round(seconds * 1e6)

    def _sum(self, place: int) -> int:
        return sum(self._slots[place::_SLOT])

    @property
    def messages(self) -> dict[str, int]:
        """Number of messages by `RESULTS`."""
        return {result: self._sum(place) for place, result in enumerate(RESULTS)}

    @property
    def ambiguous_renames(self) -> int:
        """Number of renames that failed."""
        return self._sum(_RENAMES)

    @property
    def delivery_seconds(self) -> tuple[list[int], float]:
        """Number of messages that took at most each of `BOUNDS`, then of all; and their total seconds."""
        return self._histogram(_DELIVERIES)

    @property
    def fsync_seconds(self) -> tuple[list[int], float]:
        """As `delivery_seconds`, for fsyncs."""
        return self._histogram(_FSYNCS)

    def _histogram(self, start: int) -> tuple[list[int], float]:
        counts = [self._sum(start + bucket) for bucket in range(_WIDTH - 1)]
        return list(accumulate(counts)), self._sum(start + _WIDTH - 1) / 1e6
