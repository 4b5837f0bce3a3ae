"""How much the server takes at once: connections, and bytes of messages that wait in memory.

The counts of all worker processes lie side by side in shared memory, one slot each. A worker
writes its own slot alone and reads them all, so no lock is needed and a worker that dies takes
its counts with it. Two workers that look in the same instant may together exceed a limit by what
each has just taken; the limit is a guard for memory, not an account.
"""

from __future__ import annotations

import mmap

from maildir_safe._smtp.protocol import replies

_CONNECTIONS, _BYTES = 0, 1


class MemoryBudget:
    """Shared counts, made before the workers are forked.

    Args:
        connections: most connections of all workers together.
        in_flight: most bytes of messages, of all workers together, that are being received or
            are not yet stored. Python copies a message up to three times on its way, so resident
            memory may reach about three times this.
        workers: number of slots.
    """

    def __init__(self, connections: int, in_flight: int, workers: int = 1) -> None:
        self._limits = (connections, in_flight)
        self._slots = memoryview(mmap.mmap(-1, 16 * workers)).cast("q")
        self._mine = 0

    def use_slot(self, worker: int) -> None:
        """Count in slot `worker` from here on; it starts at nothing."""
        self._mine = 2 * worker
        self._slots[self._mine] = self._slots[self._mine + 1] = 0

    def _take(self, kind: int, count: int) -> bool:
        if sum(self._slots[kind::2]) + count > self._limits[kind]:
            return False
        self._slots[self._mine + kind] += count
        return True

    def connect(self) -> bool:
        """Count one connection more; False if there are enough."""
        return self._take(_CONNECTIONS, 1)

    def disconnect(self) -> None:
        """Count one connection less."""
        self._slots[self._mine + _CONNECTIONS] -= 1

    def take(self, size: int) -> bool:
        """Count `size` bytes more; False, and nothing counted, if there is no room."""
        return self._take(_BYTES, size)

    def give_back(self, size: int) -> None:
        """Count `size` bytes less."""
        self._slots[self._mine + _BYTES] -= size

    @property
    def connections(self) -> int:
        """Open connections now, in all workers."""
        return sum(self._slots[_CONNECTIONS::2])

    @property
    def in_flight(self) -> int:
        """Bytes in memory now, in all workers."""
        return sum(self._slots[_BYTES::2])


class MemoryReservation:
    """The memory of one message while it is received and stored.

    Args:
        budget: where its bytes are counted.
        max_size: most bytes of one message.

    Attributes:
        received: bytes that came, kept or not.
        refusal: the reply the message will get, or ``""`` as long as it is kept.
    """

    def __init__(self, budget: MemoryBudget, max_size: int) -> None:
        self._budget = budget
        self._max_size = max_size
        self._taken = 0
        self.received = 0
        self.refusal = ""

    def add(self, size: int) -> bool:
        """Count `size` bytes more; False once the message is not to be kept."""
        self.received += size
        if not self.refusal:
            if self.received > self._max_size:
                self.refusal = replies.TOO_BIG
            elif not self._budget.take(size):
                self.refusal = replies.TOO_MUCH_AT_ONCE
            else:
                self._taken += size
                return True
            self.release()
        return False

    def release(self) -> None:
        """Give back what was counted; once is enough, and more does no harm."""
        self._budget.give_back(self._taken)
        self._taken = 0
