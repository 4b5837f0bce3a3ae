"""The Maildir or spool that mail goes into: created at the start, tested, and described to the operator."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from maildir_safe._fs.owner import as_owner
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._health.trial import look_and_store, store_file_in
from maildir_safe._mailboxes import KEPT_OPEN, open_as_owner
from maildir_safe._maildir.directories import OpenDirectories
from maildir_safe._queue.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem
    from maildir_safe._smtp.server.settings import Settings

_RESERVED = 40  # descriptors: listeners, the event loop, libraries
_KEPT_MAILDIR = 4
_CONNECTION = 2  # its socket, and the directory in which a recipient is looked up
_DELIVERY = 6  # a Maildir, its quota, and the file of the message


def prepare_storage(settings: Settings) -> str:
    """Create the storage if it does not exist, and return a line for the operator that describes it.

    The line promises a durability only if a file could be written there.

    Raises:
        MaildirSafeError, OSError: the storage cannot be created or opened.
    """
    fs = OsFileSystem()
    if settings.queue is not None:
        path = os.path.abspath(settings.queue)
        durability = Queue(path, shared=False).durability
        trouble = _trouble(lambda: store_file_in(fs, path))
        return f"Spool    {path} ({trouble or f'durability {durability}'})"
    if settings.map is not None:
        return f"Maildir  {settings.map} (where it exists)"
    path = os.path.abspath(settings.maildir)
    open_as_owner(path, create=True)
    directories = OpenDirectories(as_owner(fs, path), path)
    durability = _trouble(lambda: store_file_in(fs, path)) or f"durability {directories.durability}"
    return f"Maildir  {path} ({durability}, {directories.fstype})"


def directory_of(settings: Settings) -> str:
    """The directory that all mail goes below: the spool, the Maildir, or where those of the map begin."""
    if settings.queue is None and settings.map is not None:
        return _above_all(settings.map)
    return os.path.abspath(settings.queue or settings.maildir)


def storage_trials(
    settings: Settings, fs: FileSystem, last_used: Callable[[], str]
) -> dict[str, Callable[[], None]]:
    """For each store its path, and a call that raises `OSError` if nothing can be stored there now.

    Args:
        settings: the server's settings.
        fs: the file system's calls.
        last_used: returns a Maildir of the map that was opened lately, or ``""``.
    """
    trials: dict[str, Callable[[], None]] = {}
    if settings.queue is not None:
        spool = os.path.abspath(settings.queue)
        trials[spool] = lambda: store_file_in(fs, spool)
    if settings.map is not None:
        above = _above_all(settings.map)
        trials[above] = lambda: look_and_store(fs, above, last_used())
    elif settings.queue is None:
        maildir = os.path.abspath(settings.maildir)
        trials[maildir] = lambda: store_file_in(fs, maildir)
    return trials


def _above_all(template: str) -> str:
    return os.path.abspath(template.partition("{")[0].rpartition("/")[0] or "/")


def _trouble(trial: Callable[[], None]) -> str:
    """Why no file can be stored now, in words; ``""`` if one can."""
    try:
        trial()
    except OSError as error:
        return f"CANNOT BE WRITTEN NOW: {error.strerror}; all mail is answered 4xx"
    return ""


class Descriptors:
    """How much a process may have open at a time, within its limit of file descriptors (``ulimit -n``).

    Args:
        connections: number of connections wanted.
        web: whether the inbox page or the health checks are served too.

    Attributes:
        connections: number of connections allowed: at most as many as wanted, and at least 4.
        kept: number of Maildirs that are kept open for the next message.
        deliveries: number of messages that may be written into Maildirs at a time.
    """

    def __init__(self, connections: int, web: bool) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            soft = 1 << 20
        spare = max(0, soft - _RESERVED * (2 if web else 1))
        self.kept = max(1, min(KEPT_OPEN, spare // 3 // _KEPT_MAILDIR))
        self.connections = min(connections, max(4, spare // 3 // _CONNECTION))
        left = spare - self.kept * _KEPT_MAILDIR - self.connections * _CONNECTION
        self.deliveries = max(1, left // _DELIVERY)
