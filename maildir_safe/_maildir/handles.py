"""A Maildir's directories while it is in use: opened, opened anew, let go; and its separator.

An object of its own, so that no `Maildir` refers to itself: with the last reference to a Maildir its
descriptors are closed, and not when a collector comes by.
"""

from __future__ import annotations

import errno

from maildir_safe._delivery.receipt import DURABILITY_LEVELS
from maildir_safe._fs.quirks import quirks
from maildir_safe._fs.stored_options import stored_options
from maildir_safe._maildir.directories import OpenDirectories, find_separator
from maildir_safe.errors import NotAMaildir, TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

# what a directory answers that a client of Coda may not fetch anew, or that is in conflict
_BLIND = {errno.EIO, errno.ETOOMANYREFS, errno.ELOOP, errno.ENOTDIR}
_REOPEN = 5.0  # seconds after which the path is looked up anew: it may have been moved or remounted


class DirectoryHandles:
    """Gives the open directories of one Maildir. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir.
        require: refuse, temporarily, to open what is less durable than this level.
        separator: between a name and its flags; None finds out what the mount takes.
        staging: where messages are written; None: as a probe has stored it, else as the type of mount needs.
        inside: it is a folder of another Maildir.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        require: str | None,
        separator: str | None,
        staging: str | None,
        inside: bool = False,
    ) -> None:
        self._inside = inside
        self._fs = fs
        self._path = path
        self._require = require
        self._separator = separator
        self._staging = staging
        self._dirs: OpenDirectories | None = None

    def __call__(self, anew: bool = False) -> OpenDirectories:
        """The directories; opened anew if asked for, or if that was long ago.

        Raises:
            NotAMaildir: they cannot be opened.
            TemporaryError: they are not as durable as required.
        """
        dirs = self._dirs
        if anew or dirs is None or self._fs.monotonic() - dirs.opened > _REOPEN:
            dirs = self._opened()
            if self._require is not None:
                _check_durability(dirs, self._require, self._path)
            # an operation that still works with the old ones keeps them open until it is done
            self._dirs = None if quirks(dirs.fstype).held_directories_blind else dirs
        return dirs

    def _opened(self) -> OpenDirectories:
        """The directories, opened. Where it is our own descriptors that blind us, they are let go first."""
        try:
            return OpenDirectories(self._fs, self._path, self._inside)
        except NotAMaildir as error:
            cause = error.__cause__
            if self._dirs is None or not isinstance(cause, OSError) or cause.errno not in _BLIND:
                raise
        self._dirs = None  # and no exception is under way whose frames would hold what was opened
        return OpenDirectories(self._fs, self._path, self._inside)

    def staging(self) -> str:
        """Where messages are written: ``"tmp"`` or ``"new"``; what is stored for the mount is read.

        Raises:
            NotAMaildir, TemporaryError: as a call.
        """
        if self._staging is None or self._separator is None:
            mount = self().mount
            found, _ = stored_options(self._fs, self._path, mount)
            self._separator = self._separator or found.get("separator")
            self._staging = self._staging or found.get("staging") or quirks(mount.fstype).staging
        return self._staging

    def separator(self) -> str:
        """The separator, found out at the first call.

        Raises:
            TemporaryError: the mount takes neither.
        """
        if self._separator is None:
            try:
                dirs = self()
                self._separator = find_separator(self._fs, dirs.tmp, dirs.fstype)
            except OSError as error:
                raise storage_error(f"{self._path}/tmp: a name with ':' and one with ';'", error) from error
        return self._separator

    def close(self) -> None:
        """Let go of the directories; the next call opens them anew."""
        self._dirs = None


def _check_durability(dirs: OpenDirectories, required: str, path: str) -> None:
    level = dirs.durability
    try:
        if level == "full" and required == "full" and not dirs.sync["new"].sync():
            level = "file"
    except OSError as error:
        raise storage_error(f"fsync {path}/new", error) from error
    if DURABILITY_LEVELS.index(level) < DURABILITY_LEVELS.index(required):
        raise TemporaryError(f"{path}: the mount ({dirs.fstype}) can do {level!r}, required is {required!r}")
