"""TLS for the page: the handshake, bounded in time and number, before a connection speaks HTTP.

A connection in its handshake counts apart from the others. If there are too many, the oldest is dropped.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from maildir_safe._web.connections import FIRST_REQUEST, MOST_CONNECTIONS, BoundedProtocol, limit


class TlsDoor(asyncio.Protocol):
    """A connection to the page until its handshake is done; then a `BoundedProtocol` takes over.

    Args:
        tls: the TLS context.
        waiting: the connections of this server in their handshakes, oldest first; all share it.
        how: the arguments of `BoundedProtocol`.
    """

    def __init__(self, tls: ssl.SSLContext, waiting: dict[TlsDoor, None], **how: Any) -> None:
        self._tls, self._waiting = tls, waiting
        self._http = BoundedProtocol(**how)
        self._transport: asyncio.Transport | None = None
        self._early, self._over = b"", False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._waiting[self] = None
        if len(self._waiting) > limit(MOST_CONNECTIONS):
            next(iter(self._waiting))._drop()
        self._task = asyncio.get_running_loop().create_task(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        """Keep what comes with the end of the handshake; a client cannot send more before we go on."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client has gone before we went on."""
        self._over = True

    async def _shake_hands(self) -> None:
        loop, transport = asyncio.get_running_loop(), self._transport
        assert transport is not None
        try:
            encrypted = await loop.start_tls(
                transport, self, self._tls, server_side=True, ssl_handshake_timeout=FIRST_REQUEST
            )
        except (OSError, EOFError):  # TimeoutError and SSLError too
            transport.abort()
            return
        finally:
            self._waiting.pop(self, None)
        if encrypted is None or self._over:
            return
        self._http.connection_made(encrypted)
        encrypted.set_protocol(self._http)
        if self._early:
            self._http.data_received(self._early)

    def _drop(self) -> None:
        self._waiting.pop(self, None)
        if self._transport is not None:
            self._transport.abort()
