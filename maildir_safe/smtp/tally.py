"""How many messages came and how long they took, in all worker processes together: for metrics."""

from __future__ import annotations

import mmap

_STORED, _REFUSED, _MICROSECONDS = 0, 1, 2


class Tally:
    """Shared counts, made before the workers are forked. A worker writes its own slot and reads all.

    Args:
        workers: number of slots.
    """

    def __init__(self, workers: int = 1) -> None:
        self._slots = memoryview(mmap.mmap(-1, 24 * workers)).cast("q")
        self._mine = 0

    def use_slot(self, worker: int) -> None:
        """Count in slot `worker` from here on, after what a worker that died has counted there."""
        self._mine = 3 * worker

    def add(self, stored: bool, seconds: float) -> None:
        """Count a message: stored for every recipient or not, `seconds` from DATA to the answer."""
        self._slots[self._mine + (_STORED if stored else _REFUSED)] += 1
        self._slots[self._mine + _MICROSECONDS] += round(seconds * 1e6)

    @property
    def stored(self) -> int:
        """Messages stored for every recipient."""
        return sum(self._slots[_STORED::3])

    @property
    def refused(self) -> int:
        """Messages refused for at least one recipient, after DATA."""
        return sum(self._slots[_REFUSED::3])

    @property
    def seconds(self) -> float:
        """What all of them took."""
        return sum(self._slots[_MICROSECONDS::3]) / 1e6
