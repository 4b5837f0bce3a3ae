"""A pool of open Maildirs, found by address.

Everything that delivers by address (the SMTP and LMTP server, the queue's courier) uses this pool and its
two policies:

* **A missing mailbox.** An unmounted share looks the same, and so does, for some seconds, a mailbox that
  another host has just created. `NoSuchMailbox` is therefore raised only if neither a fresh listing of the
  parent directory *nor* a look-up shows the mailbox, and the parent is not empty and has not changed for
  some seconds. In all other cases `NotAMaildir` is raised, which is temporary.
* **Too many open files.** Each open Maildir holds descriptors. At EMFILE the pool closes all of them, and
  the delivery is attempted once more.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from maildir_safe._fs.owner import as_owner
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import NotAMaildir, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maildir_safe._fs import FileSystem

KEPT_OPEN = 64
"""Maildirs kept open for the next message; each holds four descriptors."""

SETTLED_AFTER = 5.0
"""Seconds for which a directory must be unchanged before its listing proves that a mailbox is missing."""

_LONG_AGO = 60.0  # seconds by the wall clock; a larger difference of two hosts costs a retry
_LISTINGS_KEPT = 16
_NO_FILES_LEFT = (errno.EMFILE, errno.ENFILE)


class NoSuchMailbox(NotAMaildir):
    """The address has no Maildir, as far as this can be determined.

    A server that has not accepted the message may refuse it for good (550 5.1.1). After acceptance the
    error is temporary, because the mailbox existed when the message was accepted.
    """


def open_as_owner(
    path: str, fs: FileSystem | None = None, create: bool = False, staging: str | None = None
) -> Maildir:
    """Open the Maildir at `path`. Root acts as its owner, so that the mail belongs to the owner.

    Args:
        fs: the file system's calls.
        create: make the Maildir in an existing, empty directory.
        staging: where messages are written first, as for `Maildir`.

    Raises:
        NotAMaildir: it cannot be opened, or users other than its owner could redirect root elsewhere.
    """
    try:
        calls = as_owner(fs or OsFileSystem(), path)
    except OSError as error:
        raise NotAMaildir(f"{path}: {error}") from error
    return Maildir(path, create=create, staging=staging, fs=calls)


class _Listing:
    """The last listing of a directory, and since when the directory is known to be unchanged."""

    __slots__ = ("names", "settled", "since", "stamp")

    def __init__(self, stamp: tuple[int, int], since: float) -> None:
        self.stamp = stamp
        self.since = since
        self.settled = False
        self.names: frozenset[str] = frozenset()


class Mailboxes:
    """The Maildirs of a server's addresses. Thread-safe.

    Args:
        candidates: returns the possible paths of an address, best first; its errors are passed on.
        open_maildir: opens the Maildir at a path; by default `open_as_owner`.
        fs: the file system in which mailboxes are looked up.
        kept_open: most Maildirs that are kept open.
        settled_after: see `SETTLED_AFTER`.
    """

    def __init__(
        self,
        candidates: Callable[[str], Sequence[str]],
        open_maildir: Callable[[str], Maildir] | None = None,
        *,
        fs: FileSystem | None = None,
        kept_open: int = KEPT_OPEN,
        settled_after: float = SETTLED_AFTER,
    ) -> None:
        self._candidates = candidates
        self._open_maildir = open_maildir or open_as_owner
        self._fs = fs or OsFileSystem()
        self._most = kept_open
        self._settled_after = settled_after
        self._lock = Lock()
        self._kept: OrderedDict[str, Maildir] = OrderedDict()
        self._listings: OrderedDict[str, _Listing] = OrderedDict()

    def known(self, address: str) -> str | None:
        """The path of the address's Maildir if it is open. No file is touched. Raises as `candidates`."""
        paths = self._candidates(address)
        return paths[0] if paths and paths[0] in self._kept else None

    def opened(self, path: str) -> Maildir | None:
        """The Maildir at `path` if it is open. No file is touched."""
        with self._lock:
            maildir = self._kept.get(path)
            if maildir is not None:
                self._kept.move_to_end(path)
            return maildir

    def find(self, address: str) -> str:
        """The path of the address's Maildir: the first candidate that exists.

        Raises:
            NoSuchMailbox: none exists.
            NotAMaildir: this cannot be determined now.
        """
        doubt: NotAMaildir | None = None
        paths = self._candidates(address)
        for path in paths:
            if path in self._kept:
                return path
            try:
                self._look_up(path)
                return path
            except OSError as error:
                if not (error.errno == errno.ENAMETOOLONG or self._is_absent(path, error)):
                    doubt = doubt or NotAMaildir(f"{path}: {error.strerror}; it may be there all the same")
        raise doubt or NoSuchMailbox(f"no mailbox for {address}: {', '.join(paths)}")

    def open(self, path: str) -> Maildir:
        """Open the Maildir at `path`, and keep it open for the next message.

        Raises:
            NotAMaildir: it cannot be opened.
            TemporaryError: the mount is less durable than required, or files cannot be opened.
        """
        maildir = self.opened(path)
        if maildir is not None:
            return maildir
        try:
            maildir = self._open_maildir(path)
        except TemporaryError as error:
            if not self.evict_if_out_of_descriptors(error):
                raise
            maildir = self._open_maildir(path)
        with self._lock:
            maildir = self._kept.setdefault(path, maildir)
            self._kept.move_to_end(path)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)  # a delivery in progress still holds it open
            return maildir

    def maildir_for(self, address: str) -> Maildir:
        """`find` and `open`."""
        return self.open(self.find(address))

    def evict_if_out_of_descriptors(self, error: BaseException | None = None) -> bool:
        """Close all Maildirs of the pool if this error means that too many files are open.

        Args:
            error: the error of a delivery; None: close them in any case.

        Returns:
            Whether a retry may help: the error was of that kind, and a Maildir was closed.
        """
        if error is not None and not _no_files_left(error):
            return False
        with self._lock:
            kept, self._kept = self._kept, OrderedDict()
        for maildir in kept.values():
            maildir.close()
        return bool(kept)

    def forget(self, path: str) -> None:
        """Drop the Maildir at `path`, which could not be used; the next call looks it up again."""
        with self._lock:
            self._kept.pop(path, None)

    def _look_up(self, path: str) -> None:
        try:
            fd = self._fs.open_dir(path)
        except OSError as error:
            if not self.evict_if_out_of_descriptors(error):
                raise
            fd = self._fs.open_dir(path)
        self._fs.close(fd)

    # Whether a mailbox is missing

    def _is_absent(self, path: str, error: OSError) -> bool:
        """Whether a path that could not be opened certainly does not exist, and is not just hidden."""
        if error.errno != errno.ENOENT:
            return False
        above, _, name = path.rstrip("/").rpartition("/")
        above = above or "/"
        try:
            fd = self._fs.open_dir(above)
        except OSError as error_above:
            return above != "/" and self._is_absent(above, error_above)
        try:
            listing = self._listing(above, fd)
            return (
                listing.settled and bool(listing.names) and name not in listing.names and self._no(name, fd)
            )
        except OSError:
            return False
        finally:
            self._fs.close(fd)

    def _no(self, name: str, fd: int) -> bool:
        try:
            self._fs.stat(name, fd)
        except FileNotFoundError:
            return True
        return False

    def _listing(self, above: str, fd: int) -> _Listing:
        """The listing of a directory, renewed unless it is settled and unchanged. Raises OSError."""
        found = self._fs.fstat(fd)
        stamp, now = (found.st_ino, found.st_mtime_ns), self._fs.monotonic()
        with self._lock:
            listing = self._listings.pop(above, None)
            if listing is None or listing.stamp != stamp:
                long_ago = self._fs.time_ns() - found.st_mtime_ns > _LONG_AGO * 1e9
                listing = _Listing(stamp, now - self._settled_after if listing is None and long_ago else now)
            self._listings[above] = listing
            while len(self._listings) > _LISTINGS_KEPT:
                self._listings.popitem(last=False)
        if not listing.settled and now - listing.since >= self._settled_after:  # earlier it proves nothing
            listing.names = frozenset(self._fs.listdir(fd))
            listing.settled = True
        return listing


def _no_files_left(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_FILES_LEFT:
            return True
        cause = cause.__cause__
    return False
