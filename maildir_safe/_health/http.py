"""A small HTTP server for /livez, /readyz and /metrics, without any package.

It is bounded: in connections, in the bytes and the seconds of a request, and in scrapes at a time. Each
connection gets one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

CONNECTIONS = 16
"""Connections at a time. For another one, the one that has sent no request for longest is closed."""

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
        self._connections = 0
        self._waiting: dict[asyncio.StreamWriter, None] = {}  # for a request, the longest first
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
        if self._connections >= CONNECTIONS:
            silent = next(iter(self._waiting), writer)
            self._waiting.pop(silent, None)
            silent.transport.abort()
            if silent is writer:
                return
        self._connections += 1
        self._waiting[writer] = None
        try:
            await self._one(reader, writer)
        except (OSError, EOFError, TimeoutError):  # a client that left, or was too slow
            writer.transport.abort()
        finally:
            self._waiting.pop(writer, None)
            self._connections -= 1

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        self._waiting.pop(writer, None)
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


def _set(scrape: asyncio.Future[bytes], text: bytes) -> None:
    if not scrape.done():
        scrape.set_result(text)
