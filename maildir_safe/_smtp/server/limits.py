"""How much the server takes at once: connections, and bytes of messages that wait in memory.

The counts of all worker processes lie side by side in shared memory, one slot each. A worker
writes its own slot alone and reads them all, so no lock is needed and a worker that dies takes
its counts with it. Two workers that look in the same instant may together exceed a limit by what
each has just taken; the limit is a guard for memory, not an account.
"""

from __future__ import annotations

import mmap
import secrets

from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.server.throttle import network

_CONNECTIONS, _BYTES = 0, 1
_ADDRESSES = 1024  # counters; two addresses that share one share its limit
_SLOT = 2 + _ADDRESSES


class MemoryBudget:
    """Shared counts, made before the workers are forked.

    Args:
        connections: most connections of all workers together.
        in_flight: most bytes of messages, of all workers together, that are being received or
            are not yet stored. A message is held once, however many recipients it has.
        workers: number of slots.
        per_address: most connections of one client address, of all workers together; by default
            half of all, so that no client alone can shut out the others. It does not hold for
            connections from this machine.
    """

    def __init__(
        self, connections: int, in_flight: int, workers: int = 1, per_address: int | None = None
    ) -> None:
        self._limits = (connections, in_flight)
        self._per_address = max(1, connections // 2) if per_address is None else per_address
        self._slots = memoryview(mmap.mmap(-1, 8 * _SLOT * workers)).cast("q")
        self._mine = 0
        self._salt = secrets.token_hex(8)  # nobody can look for addresses that share a counter

    def use_slot(self, worker: int) -> None:
        """Count in slot `worker` from here on; it starts at nothing."""
        self._mine = _SLOT * worker
        for place in range(self._mine, self._mine + _SLOT):
            self._slots[place] = 0

    def _take(self, kind: int, count: int, limit: int) -> bool:
        if sum(self._slots[kind::_SLOT]) + count > limit:
            return False
        self._slots[self._mine + kind] += count
        return True

    def connect(self, peer: str = "") -> bool:
        """Count one connection more; False if there are enough.

        Args:
            peer: the client's IP address; ``""`` for one on a unix socket.
        """
        place = self._place(peer)
        if place and not self._take(place, 1, self._per_address):
            return False
        if self._take(_CONNECTIONS, 1, self._limits[_CONNECTIONS]):
            return True
        if place:
            self._slots[self._mine + place] -= 1
        return False

    def disconnect(self, peer: str = "") -> None:
        """Count one connection of `peer` less."""
        self._slots[self._mine + _CONNECTIONS] -= 1
        if place := self._place(peer):
            self._slots[self._mine + place] -= 1

    def _place(self, peer: str) -> int:
        """Where connections of this client are counted; 0 if they are not."""
        client = network(peer)
        return 2 + hash(self._salt + client) % _ADDRESSES if client else 0

    def take(self, size: int) -> bool:
        """Count `size` bytes more; False, and nothing counted, if there is no room."""
        return self._take(_BYTES, size, self._limits[_BYTES])

    def give_back(self, size: int) -> None:
        """Count `size` bytes less."""
        self._slots[self._mine + _BYTES] -= size

    @property
    def connections(self) -> int:
        """Open connections now, in all workers."""
        return sum(self._slots[_CONNECTIONS::_SLOT])

    @property
    def in_flight(self) -> int:
        """Bytes in memory now, in all workers."""
        return sum(self._slots[_BYTES::_SLOT])


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
