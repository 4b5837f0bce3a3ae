"""The load balancers that may name their clients, and reading what they say."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol import proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._smtp.server.input import InputBuffer

HEADER_TIMEOUT = 5.0
"""Seconds in which the header must arrive."""


class Proxies:
    """Networks of load balancers whose connections begin with a header of the PROXY protocol.

    Args:
        networks: addresses or networks such as ``192.0.2.0/24``.

    Raises:
        ValueError: one of them is malformed.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def __contains__(self, peer: str) -> bool:
        """Whether a connection from this IP address must begin with a header; ``""``: a unix socket."""
        if not self._networks or not peer:
            return False
        address = ipaddress.ip_address(peer.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


async def read_header(arrived: InputBuffer) -> str:
    """Read a header of the PROXY protocol, and nothing after it.

    Returns:
        the client's IP address; ``""`` if the proxy speaks for itself or does not know it.

    Raises:
        NotAProxyHeader: no valid header came in time.
        EndOfInput: the proxy has closed the connection.
    """
    try:
        async with asyncio.timeout(HEADER_TIMEOUT):
            while (found := proxy.parse(arrived.data)) is None:
                await arrived.more()
    except TimeoutError:
        raise proxy.NotAProxyHeader("no header in time") from None
    length, client = found
    del arrived.data[:length]
    arrived.taken()
    return client
