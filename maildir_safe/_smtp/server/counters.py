"""What was delivered and how long it took, in all worker processes together: for metrics."""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left
from itertools import accumulate

RESULTS = ("stored", "deferred", "refused")
"""What became of a message: stored for every recipient; else as its worst reply says, 4xx or 5xx."""

BOUNDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets, seconds: an fsync in a controller's cache is 0.1 ms, one on NFS
with a server that comes back may be 30 s."""

_RENAMES = len(RESULTS)
_DELIVERIES = _RENAMES + 1
_WIDTH = len(BOUNDS) + 2  # a count a bucket, what is longer than all of them, and microseconds
_FSYNCS = _DELIVERIES + _WIDTH
_SLOT = _FSYNCS + _WIDTH


class Counters:
    """Shared counts, made before the workers are forked. A worker writes its own slot and reads all.

    Thread-safe: fsyncs are counted where they are called.

    Args:
        workers: number of slots.
    """

    def __init__(self, workers: int = 1) -> None:
        self._slots = memoryview(mmap.mmap(-1, 8 * _SLOT * workers)).cast("q")
        self._mine = 0
        self._lock = threading.Lock()

    def use_slot(self, worker: int) -> None:
        """Count in slot `worker` from here on, after what a worker that died has counted there."""
        self._mine = _SLOT * worker

    def message(self, result: str, seconds: float) -> None:
        """Count a message: `result` is one of `RESULTS`, `seconds` from DATA to the answer."""
        with self._lock:
            self._slots[self._mine + RESULTS.index(result)] += 1
            self._observe(_DELIVERIES, seconds)

    def fsync(self, seconds: float) -> None:
        """Count an fsync of a file or a directory, or the syncfs that stands for those of a group."""
        with self._lock:
            self._observe(_FSYNCS, seconds)

    def ambiguous_rename(self) -> None:
        """Count a rename that was answered with an error: it may have happened, and one has to look."""
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
        """How many messages had each of `RESULTS`."""
        return {result: self._sum(place) for place, result in enumerate(RESULTS)}

    @property
    def ambiguous_renames(self) -> int:
        """Renames that were answered with an error."""
        return self._sum(_RENAMES)

    @property
    def delivery_seconds(self) -> tuple[list[int], float]:
        """How many messages took at most each of `BOUNDS`, and how many there are; seconds of all."""
        return self._histogram(_DELIVERIES)

    @property
    def fsync_seconds(self) -> tuple[list[int], float]:
        """The same of fsyncs."""
        return self._histogram(_FSYNCS)

    def _histogram(self, start: int) -> tuple[list[int], float]:
        counts = [self._sum(start + bucket) for bucket in range(_WIDTH - 1)]
        return list(accumulate(counts)), self._sum(start + _WIDTH - 1) / 1e6
