"""Limits per client address: the network it counts as, and delays after wrong passwords."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_DELAY = 0.5
"""Seconds by which the reply to an address's first wrong password is delayed; doubled for each further."""

_LONGEST_DELAY = 10.0
_FORGIVEN = 600.0  # seconds without a wrong password
_REMEMBERED = 1000  # addresses


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
