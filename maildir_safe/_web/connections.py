"""Limits on the page's connections, separate from those for mail: their number, and idle or slow ones.

A connection beyond the limit is accepted anyway, and another one is closed for it: an idle one, of
the client that has the most. So no client can shut out others by opening many connections.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections import Counter
from typing import Any, TypeVar

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

T = TypeVar("T")

MOST_CONNECTIONS = 200
MOST_LISTENERS = 50
FIRST_REQUEST = 15.0
"""Seconds within which a request must have arrived."""
STALLED = 60.0
"""Seconds for which a client may read nothing of its response."""


class BoundedProtocol(H11Protocol):
    """A connection to the page."""

    most = MOST_CONNECTIONS
    most_listeners = MOST_LISTENERS
    first_request = FIRST_REQUEST
    stalled = STALLED
    _timer: asyncio.TimerHandle | None = None
    _since = 0.0

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, and close another one if there are too many."""
        super().connection_made(transport)
        self._application, self.app = self.app, self._whole_or_reset
        self._since = self.loop.time()
        self._restart(self.first_request)
        others = [other for other in self.connections if isinstance(other, BoundedProtocol)]
        if len(others) > limit(self.most):
            self._make_room([other for other in others if other is not self])

    def _make_room(self, others: list[BoundedProtocol]) -> None:
        of_one = _of_the_greediest({other: other._peer for other in others})
        min(of_one, key=lambda other: (not other._idle, other._since))._drop()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to a websocket, which has limits of its own: it may be silent for long."""
        self._stop()
        websockets = {one: _peer(one) for one in self.connections if not isinstance(one, BoundedProtocol)}
        if len(websockets) >= limit(self.most_listeners):
            _of_the_greediest(websockets)[0].transport.abort()
        super().handle_websocket_upgrade(event)

    @property
    def _peer(self) -> str:
        return _peer(self)

    async def _whole_or_reset(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application. If it fails in the middle of a response, reset the connection.

        A client of HTTP/1.0 (nginx asks so by default) would take a normal end for the end of the content.
        """
        try:
            await self._application(scope, receive, send)
        except Exception:
            if not self._idle and self.cycle.response_started:
                self._reset()
            raise

    def _reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._drop()

    def data_received(self, data: bytes) -> None:
        """Stop the timer once the request is complete: the response may take long."""
        super().data_received(data)
        if not self._idle:
            self._stop()

    def on_response_complete(self) -> None:
        """Start the timer of the next request. Until its first byte, uvicorn's own time-out applies too."""
        super().on_response_complete()
        self._since = self.loop.time()
        if self._idle:
            self._restart(self.first_request)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._restart(self.stalled)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._stop()
        super().connection_lost(exc)
        self._stop()

    def _restart(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._drop)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        self._stop()
        self.connections.discard(self)
        if self.transport is not None:
            self.transport.abort()


def _peer(connection: Any) -> str:
    return str(connection.client[0]) if connection.client else ""


def _of_the_greediest(peers: dict[T, str]) -> list[T]:
    """The connections of the client that has the most."""
    counts = Counter(peers.values())
    most = max(counts.values())
    return [one for one, peer in peers.items() if counts[peer] == most]


def limit(most: int) -> int:
    """The limit of connections: `most`, or a quarter of the descriptors that this process may have."""
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if soft == resource.RLIM_INFINITY else max(min(most, soft // 4), 4)
