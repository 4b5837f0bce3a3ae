"""The Maildir or spool that mail goes into: created at the start, tested, and described to the operator."""

from __future__ import annotations

import os
import resource
import threading
from typing import TYPE_CHECKING

from maildir_safe._fs.owner import as_owner
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import make_directory
from maildir_safe._health.trial import look_and_store, store_file, store_file_in
from maildir_safe._mailbox_tree import MailboxTree
from maildir_safe._mailboxes import KEPT_OPEN, open_as_owner
from maildir_safe._maildir.directories import OpenDirectories
from maildir_safe._queue.queue import Queue
from maildir_safe.errors import NotAMaildir

if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem
    from maildir_safe._smtp.server.settings import Settings

_RESERVED = 40  # descriptors: listeners, the event loop, libraries
_KEPT_MAILDIR = 4
_TRIED = 8  # Maildirs of a map that one check of the storage tries
_CONNECTION = 2  # its socket, and the directory in which a recipient is looked up
_DELIVERY = 6  # a Maildir, its quota, and the file of the message


class LastUsed:
    """Of each directory that has Maildirs, the one that was opened last: each may be on a mount of its own.

    With ``/mail/{domain}/{local}`` that is one for each domain. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, str] = {}

    def add(self, maildir: str) -> None:
        """A Maildir was opened."""
        with self._lock:
            above = os.path.dirname(maildir)
            self._paths.pop(above, None)
            self._paths[above] = maildir
            while len(self._paths) > _TRIED:
                del self._paths[next(iter(self._paths))]

    def paths(self) -> list[str]:
        """Those of the directories that were used last, at most 8."""
        with self._lock:
            return list(self._paths.values())


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
    if settings.split is not None:
        return f"Maildirs {path}/{settings.split} ({_prepare_root(as_owner(fs, path), path)})"
    open_as_owner(path, create=True)
    directories = OpenDirectories(as_owner(fs, path), path)
    durability = _trouble(lambda: store_file_in(fs, path)) or f"durability {directories.durability}"
    return f"Maildir  {path} ({durability}, {directories.fstype})"


def _prepare_root(fs: FileSystem, path: str) -> str:
    """Make the directory of all Maildirs, if it is missing, and describe it. Raises NotAMaildir, OSError."""
    if MailboxTree(path, fs=fs).find():
        raise NotAMaildir(f"{path} is a Maildir itself: name another directory for --split")
    above, _, name = path.rpartition("/")
    fd = fs.open_dir(above or "/")
    try:
        root = make_directory(fs, name, fd) if name else fs.open_dir("/")
        DirectorySync(fs, fd).sync()
    finally:
        close_quietly(fs, fd)
    fstype = fs.mount(root).fstype
    close_quietly(fs, root)
    trouble = _trouble(lambda: store_file(fs, path))
    return trouble or f"durability {quirks(fstype).durability}, {fstype}"


def directory_of(settings: Settings) -> str:
    """The directory that all mail goes below: the spool, the Maildir, or where those of the map begin."""
    if settings.queue is None and settings.map is not None:
        return above_all(settings.map)
    return os.path.abspath(settings.queue or settings.maildir)


def storage_trials(settings: Settings, fs: FileSystem, last_used: LastUsed) -> dict[str, Callable[[], None]]:
    """For each store its path, and a call that raises `OSError` if nothing can be stored there now.

    Args:
        settings: the server's settings.
        fs: the file system's calls.
        last_used: Maildirs of the map that were opened lately.
    """
    trials: dict[str, Callable[[], None]] = {}
    if settings.queue is not None:
        spool = os.path.abspath(settings.queue)
        trials[spool] = lambda: store_file_in(fs, spool)
    if settings.map is not None:
        above = above_all(settings.map)
        trials[above] = lambda: look_and_store(fs, above, last_used.paths())
    elif settings.split is not None:
        root = os.path.abspath(settings.maildir)
        trials[root] = lambda: store_file(as_owner(fs, root), root)
    elif settings.queue is None:
        maildir = os.path.abspath(settings.maildir)
        trials[maildir] = lambda: store_file_in(fs, maildir)
    return trials


def above_all(template: str) -> str:
    """The directory that all Maildirs of a map are below."""
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
