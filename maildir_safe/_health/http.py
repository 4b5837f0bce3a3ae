"""A small HTTP server for /livez, /readyz and /metrics, without any package.

It is bounded: in connections, in the bytes and the seconds of a request, and in scrapes at a time. Each
connection gets one answer. A client that opens many connections closes its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECTIONS = 16
"""Connections at a time. For another one, one of the client that has the most is closed: the oldest that
waits for a request, or the oldest that waits for its answer."""

MAX_REQUEST = 8192
"""Bytes of a request's head."""

TIMEOUT = 5.0
"""Seconds to send a request, and to read the answer."""

SCRAPE_TIMEOUT = 10.0
"""Seconds after which metrics that a hanging storage delays are answered with 503."""

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def local_address(address: str) -> str:
    """``127.0.0.1:PORT`` for ``:PORT`` or ``PORT``: who says no host does not mean all the network."""
    host, _, port = address.rpartition(":")
    return address if host else f"127.0.0.1:{port}"


class _Connection:
    """A connection: the client's address, what answers it, and whether its request has come."""

    __slots__ = ("asked", "peer", "task")

    def __init__(self, peer: str, task: asyncio.Task[None] | None) -> None:
        self.peer, self.task, self.asked = peer, task, False


class HealthServer:
    """Answers health checks and scrapes.

    Args:
        trouble: returns why mail cannot be stored now; ``""`` if it can.
        metrics: returns the metrics in the text format of Prometheus. It may block: it is called in a
            thread, one at a time.
    """

    def __init__(self, trouble: Callable[[], Awaitable[str]], metrics: Callable[[], bytes]) -> None:
        self._trouble = trouble
        self._metrics = metrics
        self._open: dict[asyncio.StreamWriter, _Connection] = {}  # the oldest first
        self._scrape: asyncio.Future[bytes] | None = None

    async def serve(self, sock: socket.socket) -> None:
        """Answer on a listening socket until cancelled."""
        server = await asyncio.start_server(self._connected, sock=sock, limit=MAX_REQUEST)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    def serve_in_thread(self, sock: socket.socket) -> None:
        """Answer on a listening socket from a thread, until the process ends."""
        threading.Thread(target=asyncio.run, args=(self.serve(sock),), daemon=True).start()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            self._make_room()
        self._open[writer] = _Connection(_client(writer), asyncio.current_task())
        try:
            await self._one(reader, writer)
        except (OSError, EOFError, TimeoutError):  # a client that left, or was too slow
            writer.transport.abort()
        finally:
            self._open.pop(writer, None)

    def _make_room(self) -> None:
        counts = Counter(one.peer for one in self._open.values())
        most = max(counts.values())
        of_one = [writer for writer, one in self._open.items() if counts[one.peer] == most]
        writer = min(of_one, key=lambda writer: self._open[writer].asked)
        dropped = self._open.pop(writer)
        writer.transport.abort()
        if dropped.task is not None:
            dropped.task.cancel()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        if writer in self._open:
            self._open[writer].asked = True
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            answer = 400, _TEXT, b"not an HTTP request\n"
        elif method not in (b"GET", b"HEAD"):
            answer = 405, _TEXT, b"only GET and HEAD\n"
        else:
            answer = await self._answer(path.partition(b"?")[0])
        status, kind, body = answer
        lines = [
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            *(["Allow: GET, HEAD"] if status == 405 else []),
            "Connection: close",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == b"HEAD" else body))
        async with asyncio.timeout(TIMEOUT):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _answer(self, path: bytes) -> tuple[int, str, bytes]:
        if path == b"/livez":
            return 200, _TEXT, b"ok\n"
        if path == b"/readyz":
            trouble = await self._trouble()
            text = "".join(c if c.isprintable() else "?" for c in trouble) or "ready"
            return 503 if trouble else 200, _TEXT, f"{text}\n".encode(errors="replace")
        if path != b"/metrics":
            return 404, _TEXT, b"here are /livez, /readyz and /metrics\n"
        try:
            async with asyncio.timeout(SCRAPE_TIMEOUT):
                return 200, _METRICS, await asyncio.shield(self._scraped())
        except TimeoutError:
            return 503, _TEXT, b"the storage does not answer\n"

    def _scraped(self) -> asyncio.Future[bytes]:
        """The scrape that runs, or a new one: requests cannot pile up threads that hang."""
        if self._scrape is None or self._scrape.done():
            loop = asyncio.get_running_loop()
            self._scrape = loop.create_future()
            threading.Thread(target=self._collect, args=(loop, self._scrape), daemon=True).start()
        return self._scrape

    def _collect(self, loop: asyncio.AbstractEventLoop, scrape: asyncio.Future[bytes]) -> None:
        try:
            text = self._metrics()
        except Exception as error:  # noqa: BLE001 - a scrape that failed must not seem to hang
            text = f"# {type(error).__name__}\n".encode()
        with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
            loop.call_soon_threadsafe(_set, scrape, text)


def _client(writer: asyncio.StreamWriter) -> str:
    """What a client is counted by: its IPv4 address, or the /64 from which an IPv6 client chooses its own."""
    name = writer.get_extra_info("peername")
    peer = str(name[0]) if isinstance(name, tuple) else ""  # "": a unix socket, or a client that has left
    return socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])[:8].hex() if ":" in peer else peer


def _set(scrape: asyncio.Future[bytes], text: bytes) -> None:
    if not scrape.done():
        scrape.set_result(text)
