"""How many items a worker has in hand: each holds a slot, and one that hangs may give it up."""

from __future__ import annotations

import threading
import time

_MOMENT = 0.005  # seconds


class Slots:
    """A number of slots. Thread-safe.

    Args:
        count: of the slots, all free.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.Semaphore(count)

    def take(self, wait: float) -> int:
        """Take all that are free, and return their number.

        To claim items one by one costs more than to claim a group. So if less than a quarter of the slots is
        free, it waits a moment for that.

        Args:
            wait: seconds for the first, if none is free.
        """
        taken = int(self._free.acquire(timeout=wait))
        until = time.monotonic() + _MOMENT
        while 0 < taken < self._count:
            left = until - time.monotonic() if taken < self._count / 4 else 0.0
            if not self._free.acquire(timeout=max(left, 0.0)):
                break
            taken += 1
        return taken

    def give_back(self, count: int = 1) -> None:
        """Free as many as were taken, or fewer."""
        for _ in range(count):
            self._free.release()
