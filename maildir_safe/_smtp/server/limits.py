"""Limits of the whole server: connections, and bytes of messages held in memory.

The counts of all worker processes are in shared memory, one slot per worker. A worker writes only
its own slot and reads all slots, so no lock is needed, and the counts of a dead worker vanish with
it. Two workers that check at the same instant may together exceed a limit by what each has just
taken: the limit protects the memory, and need not be exact.
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
    """Shared counts, created before the workers are forked.

    Args:
        connections: most connections, of all workers together.
        in_flight: most bytes of messages that are being received or stored, of all workers
            together. A message counts once, however many recipients it has.
        workers: number of slots.
        per_address: most connections per client address, of all workers together. The default is
            half of `connections`, so that one client cannot shut out the others. The limit does
            not apply to connections from this machine.
    """

    def __init__(
        self, connections: int, in_flight: int, workers: int = 1, per_address: int | None = None
    ) -> None:
        self._limits = (connections, in_flight)
        self._per_address = max(1, connections // 2) if per_address is None else per_address
        self._slots = memoryview(mmap.mmap(-1, 8 * _SLOT * workers)).cast("q")
        self._mine = 0
        self._salt = secrets.token_hex(8)  # a stranger cannot compute which addresses share a counter

    def use_slot(self, worker: int) -> None:
        """Count in slot `worker` from now on, starting at zero."""
        self._mine = _SLOT * worker
        for place in range(self._mine, self._mine + _SLOT):
            self._slots[place] = 0

    def _take(self, kind: int, count: int, limit: int) -> bool:
        if sum(self._slots[kind::_SLOT]) + count > limit:
            return False
        self._slots[self._mine + kind] += count
        return True

    def connect(self, peer: str = "") -> bool:
        """Count one more connection. Returns False, and counts nothing, if a limit is reached.

        Args:
            peer: the client's IP address; ``""`` on a unix socket.
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
        """Count one connection of `peer` fewer."""
        self._slots[self._mine + _CONNECTIONS] -= 1
        if place := self._place(peer):
            self._slots[self._mine + place] -= 1

    def _place(self, peer: str) -> int:
        """The index of this client's counter; 0 if its connections are not limited."""
        client = network(peer)
        return 2 + hash(self._salt + client) % _ADDRESSES if client else 0

    def take(self, size: int) -> bool:
        """Count `size` more bytes. Returns False, and counts nothing, if the limit would be exceeded."""
        return self._take(_BYTES, size, self._limits[_BYTES])

    def give_back(self, size: int) -> None:
        """Count `size` bytes fewer."""
        self._slots[self._mine + _BYTES] -= size

    @property
    def connections(self) -> int:
        """Number of open connections now, in all workers."""
        return sum(self._slots[_CONNECTIONS::_SLOT])

    @property
    def in_flight(self) -> int:
        """Bytes of messages in memory now, in all workers."""
        return sum(self._slots[_BYTES::_SLOT])


class MemoryReservation:
    """The memory of one message while it is received and stored.

    Args:
        budget: counts the bytes.
        max_size: most bytes of one message.

    Attributes:
        received: bytes that have arrived, kept or not.
        refusal: the reply that refuses the message; ``""`` as long as the message is kept.
    """

    def __init__(self, budget: MemoryBudget, max_size: int) -> None:
        self._budget = budget
        self._max_size = max_size
        self._taken = 0
        self.received = 0
        self.refusal = ""

    def add(self, size: int) -> bool:
        """Count `size` more bytes. Returns False once the message must not be kept."""
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
        """Give back the counted bytes. May be called more than once."""
        self._budget.give_back(self._taken)
        self._taken = 0
