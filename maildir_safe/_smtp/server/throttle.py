"""Limits per client address: the network it counts as, checks of passwords, and delays after wrong ones."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_DELAY = 0.5
"""Seconds by which the reply to an address's first wrong password is delayed; doubled for each further."""

_LONGEST_DELAY = 10.0
_FORGIVEN = 600.0  # seconds without a wrong password
_REMEMBERED = 1000  # addresses
_HASHING = 2  # passwords checked at a time; each check takes 16 MiB and a core
_WAITING = 64  # checks that wait or run, some two seconds of them
_OF_ONE = 32  # of one client address


def network(peer: str) -> str:
    """The key by which a client is counted: its IPv4 address, or the /64 that an IPv6 client chooses from.

    ``""`` for loopback addresses and unix sockets, which do not tell clients apart.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return "" if address.is_loopback else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)


class Guesses:
    """Counts wrong passwords per client address, over the last ten minutes.

    Args:
        clock: seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wrong(self, peer: str) -> float:
        """Record a wrong password; return how many seconds to delay the reply."""
        key, now = network(peer), self._clock()
        count, last = self._wrong.pop(key, (0, now))
        if now - last > _FORGIVEN:
            count = 0
        self._wrong[key] = count + 1, now
        if len(self._wrong) > _REMEMBERED:
            self._wrong.popitem(last=False)
        return float(min(_LONGEST_DELAY, FIRST_DELAY * 2 ** min(count, 20)))

    def forget(self, peer: str) -> None:
        """Record a right password: forget the wrong ones of this address."""
        self._wrong.pop(network(peer), None)


class TooManyTries(Exception):
    """So many passwords wait to be checked that this one is not."""


class PasswordChecks:
    """Checks passwords, a few at a time, while a bounded number of others wait.

    A check has a thread of this class, and keeps it to its end: a client that hangs up meanwhile does not
    make room for another check.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_HASHING, "maildir-safe-password")
        self._waiting: Counter[str] = Counter()

    async def run(self, check: Callable[[], bool], peer: str) -> bool:
        """Return what `check` returns.

        Args:
            check: checks a password; takes about 40 ms of CPU and 16 MiB.
            peer: the client's IP address.

        Raises:
            TooManyTries: too many are waiting, of all clients or of this one.
        """
        key = network(peer)
        if self._waiting.total() >= _WAITING or (key and self._waiting[key] >= _OF_ONE):
            raise TooManyTries
        self._waiting[key] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, check)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
