"""From settings to a running service: everything that can fail at the start fails here, in words."""

from __future__ import annotations

import asyncio
import os.path
import sys

from maildir_safe import Maildir
from maildir_safe.fs import OsFileSystem
from maildir_safe.maildir.directories import Directories
from maildir_safe.smtp.door import Door
from maildir_safe.smtp.limits import Budget
from maildir_safe.smtp.listen import address_of, listen
from maildir_safe.smtp.log import MessageLog
from maildir_safe.smtp.routing import CatchAll, MailboxMap
from maildir_safe.smtp.server import Server, serve
from maildir_safe.smtp.store import MaildirStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from maildir_safe.smtp.routing import Routing
    from maildir_safe.smtp.settings import Settings


class Service:
    """Sockets that are bound and a destination that is there.

    Attributes:
        destination: where mail goes and how durable that is, for the operator.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._routing, self.destination = _routing(settings)
        self._smtp: list[socket.socket] = [listen(address) for address in settings.smtp]
        self._lmtp: list[socket.socket] = [listen(address) for address in settings.lmtp]

    @property
    def smtp_addresses(self) -> list[str]:
        """What is listened on for SMTP."""
        return [address_of(sock) for sock in self._smtp]

    @property
    def lmtp_addresses(self) -> list[str]:
        """What is listened on for LMTP."""
        return [address_of(sock) for sock in self._lmtp]

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        asyncio.run(serve(self._server()))
        return 0

    def _server(self) -> Server:
        settings = self._settings
        door = Door(
            MaildirStore(self._routing),
            MessageLog(sys.stderr, settings.log_json),
            Budget(settings.max_connections, settings.max_in_flight),
            hostname=settings.hostname,
            max_size=settings.max_size,
            max_recipients=settings.max_recipients,
            timeout=settings.timeout,
        )
        return Server(door, self._smtp, self._lmtp, settings.grace)


def prepare(settings: Settings) -> Service:
    """Open what serving needs.

    Raises:
        CannotListen, NotAMaildir, ValueError: what is wrong, for the operator.
    """
    return Service(settings)


def _routing(settings: Settings) -> tuple[Routing, str]:
    if settings.map is not None:
        return MailboxMap(settings.map, settings.postmaster), f"{settings.map} (where it exists)"
    path = os.path.abspath(settings.maildir)
    Maildir(path, create=True)
    directories = Directories(OsFileSystem(), path)
    return CatchAll(path), f"{path} (durability {directories.durability}, {directories.fstype})"
