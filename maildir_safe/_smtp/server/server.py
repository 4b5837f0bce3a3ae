"""The server of one process: its listeners, and an orderly end."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from maildir_safe._smtp.server.lmtp import LmtpSession
from maildir_safe._smtp.server.session import SmtpSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from typing import Any

    from maildir_safe._smtp.server.listener import Listener

_THREADS = 64


class Server:
    """Serves listening sockets until it is told to stop. Usable as an async context manager.

    Args:
        door: the rules, and what all connections share.
        smtp: listening sockets that speak SMTP.
        lmtp: listening sockets that speak LMTP.
        grace: seconds that stopping waits for messages that are being received or stored.
    """

    def __init__(
        self, listener: Listener, smtp: list[socket.socket], lmtp: list[socket.socket], grace: float = 30.0
    ) -> None:
        self._listener = listener
        self._sockets = [(sock, SmtpSession) for sock in smtp] + [(sock, LmtpSession) for sock in lmtp]
        self._grace = grace
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        for sock, session in self._sockets:
            connect = functools.partial(session, self._listener, loop)
            self._servers.append(await loop.create_server(connect, sock=sock, backlog=512))

    async def stop(self) -> bool:
        """Accept nothing more, finish what is being received, and hang up; False if that took too long."""
        for server in self._servers:
            server.close()
        return await self._listener.close(self._grace)

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


async def serve(
    server: Server,
    beside: list[Coroutine[Any, Any, None]],
    parent: socket.socket | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Run `server` until SIGTERM or SIGINT. Ends the process if deliveries hang then.

    Args:
        server: not yet started.
        beside: what else runs as long as it does; cancelled at the end.
        parent: its becoming readable is an order to stop too (see `workers`).
        ready: called once connections are accepted and signals obeyed.
    """
    loop = asyncio.get_running_loop()
    # a mailbox on a mount that hangs keeps its threads; the others shall have theirs
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "maildir-safe"))
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if parent is not None:
        loop.add_reader(parent, told.set)
    tasks = [loop.create_task(other) for other in beside]
    await server.start()
    ready()
    await told.wait()
    if parent is not None:
        loop.remove_reader(parent)
    finished = await server.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if not finished:
        print(
            "the storage hangs: not all messages were stored; their senders keep them",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # an orderly end would wait for the threads that hang
