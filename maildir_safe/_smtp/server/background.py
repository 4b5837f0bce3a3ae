"""The server in its own thread, for tests of programs that send mail."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from maildir_safe._smtp.server.service import Service

if TYPE_CHECKING:
    from maildir_safe._smtp.faults.faults import Faults
    from maildir_safe._smtp.server.message_log import MessageLog
    from maildir_safe._smtp.server.page import Page
    from maildir_safe._smtp.server.settings import Settings


class BackgroundServer:
    """Serves from `start` to `stop`; a context manager.

    >>> with BackgroundServer(Settings(maildir="Maildir", smtp=["127.0.0.1:0"])) as server:  # doctest: +SKIP
    ...     smtplib.SMTP(server.host, server.port)

    Args:
        settings: the server's settings; port 0 takes a free port.
        faults: scripted faults, which can be changed while the server runs.
        log: where messages are logged; by default on standard error.
        page: serves the inbox page, see `Service`.

    Attributes:
        service: has the addresses, and the CA for TLS.

    Raises:
        CannotListen, NotAMaildir, ValueError, OSError: the server cannot start.
    """

    def __init__(
        self,
        settings: Settings,
        faults: Faults | None = None,
        log: MessageLog | None = None,
        page: Page | None = None,
    ) -> None:
        self.service = Service(settings, faults, log, page)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maildir-safe-smtp", daemon=True)

    @property
    def host(self) -> str:
        """The host of the first SMTP address."""
        return self.service.smtp_addresses[0].rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of the first SMTP address."""
        return int(self.service.smtp_addresses[0].rpartition(":")[2])

    def start(self) -> None:
        """Start to serve; return once connections are accepted."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Finish the messages being received, hang up, and wait for the thread to end."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        background_tasks = [asyncio.create_task(work) for work in self.service.background_tasks()]
        async with self.service.server():
            self._started.set()
            await self._stop.wait()
        for task in background_tasks:
            task.cancel()
        await asyncio.gather(*background_tasks, return_exceptions=True)

    def __enter__(self) -> BackgroundServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
