"""The server of one process: its listening sockets, and its orderly shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.server.lmtp import LmtpSession
from maildir_safe._smtp.server.operator import tell
from maildir_safe._smtp.server.session import SmtpSession, SmtpsSession

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Coroutine, Sequence
    from typing import Any

    from maildir_safe._smtp.server.server_context import ServerContext

BACKLOG = 512
"""Connections that the kernel queues until we accept them."""

_THREADS = 64
_TURNS = 10
"""Turns of the loop until a client that asyncio has accepted is ours. If its listener is closed before,
asyncio loses the client, whose socket stays open."""
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class Server:
    """Serves listening sockets from `start` to `stop`. Usable as an async context manager.

    Args:
        context: the rules, and the state that all connections share.
        smtp: listening sockets that speak SMTP.
        smtps: listening sockets that speak SMTP in TLS.
        lmtp: listening sockets that speak LMTP.
        grace: seconds that `stop` waits for messages that are being received or stored.
        kept: those of the sockets that a service manager keeps open.
    """

    def __init__(
        self,
        context: ServerContext,
        smtp: list[socket.socket],
        lmtp: list[socket.socket],
        grace: float = 30.0,
        kept: Collection[socket.socket] = (),
        smtps: Sequence[socket.socket] = (),
    ) -> None:
        self._context = context
        kinds = ((smtp, SmtpSession), (lmtp, LmtpSession), (smtps, SmtpsSession))
        self._sockets = [(sock, session) for sockets, session in kinds for sock in sockets]
        self._grace = grace
        self._kept = kept
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        for sock, session in self._sockets:
            connect = functools.partial(session, self._context)
            # asyncio accepts `backlog` connections before it serves one. Those that we refuse must be
            # closed before the next is accepted, so asyncio gets 1 and the kernel the real backlog
            self._servers.append(await loop.create_server(connect, sock=sock, backlog=1))
            sock.listen(BACKLOG)

    async def stop(self) -> bool:
        """Finish the messages being received, hang up, and stop accepting. False if that took too long.

        New clients are answered 421 until then, and those that wait to be accepted at the end too: a
        listener that is closed with clients waiting would reset their connections. A socket that a
        service manager keeps open is left to it at once: its clients wait for the next process.
        """
        await self._stop_accepting(kept=True)
        finished = await self._context.close(self._grace)
        await self._stop_accepting(kept=False)
        return finished

    async def _stop_accepting(self, kept: bool) -> None:
        chosen = [
            (server, sock, session)
            for server, (sock, session) in zip(self._servers, self._sockets, strict=True)
            if (sock in self._kept) is kept
        ]
        for _, sock, _ in chosen:
            asyncio.get_running_loop().remove_reader(sock)
        for _ in range(_TURNS if chosen else 0):
            await asyncio.sleep(0)
        for server, sock, session in chosen:
            if not kept:
                turn_away(sock, session.implicit_tls)
            server.close()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


def turn_away(sock: socket.socket, tls: bool = False) -> None:
    """Accept the clients that wait on a listening socket, and answer them 421; with `tls`, say nothing."""
    for _ in range(BACKLOG):
        try:
            client, _ = sock.accept()
        except OSError:  # nobody waits
            return
        with client, contextlib.suppress(OSError):
            if not tls:
                client.send(f"{replies.SHUTTING_DOWN}\r\n".encode())


async def serve(
    server: Server,
    background: list[Coroutine[Any, Any, None]],
    parent: socket.socket | None = None,
    ready: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
    reload: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Run `server` until SIGTERM or SIGINT. Exits the process if deliveries hang at that time.

    Args:
        server: the server, not yet started.
        background: coroutines that run beside the server; cancelled at the end.
        parent: a socket that becomes readable when the server must stop (see `workers`).
        ready: called once connections are accepted and signals are handled.
        stopping: called when the end begins, before the messages being received are finished.
        reload: run at SIGHUP; None: SIGHUP is left as it is.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    # for everything but mailboxes (queue, passwords, ids): those have the threads of their lanes
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "maildir-safe"))
    ordered = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ordered.set)
    reloads: set[asyncio.Task[None]] = set()
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(reload())))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # one may have come since the fork
    if parent is not None:
        loop.add_reader(parent, ordered.set)
    tasks = [loop.create_task(other) for other in background]
    await server.start()
    ready()
    await ordered.wait()
    stopping()
    if parent is not None:
        loop.remove_reader(parent)
    finished = await server.stop()
    for task in (*tasks, *reloads):
        task.cancel()
    await asyncio.gather(*tasks, *reloads, return_exceptions=True)
    if not finished:
        tell("the storage hangs; senders keep the messages that were not acknowledged")
        os._exit(1)  # a normal exit would wait for the threads that hang


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report a lack of descriptors or memory as one line: asyncio accepts again after a second."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
        tell(f"connections must wait: {error.strerror}")
    else:
        loop.default_exception_handler(context)
