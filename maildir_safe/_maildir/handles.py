"""Opens, reopens and closes the directories of a Maildir in use, and determines its separator.

This is a separate object to avoid a reference cycle. The descriptors are thus closed when the last
reference to a `Maildir` is dropped, and not at the next garbage collection.
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

# errors of a directory that a Coda client cannot fetch again while it is open, or that is in conflict
_STALE = {errno.EIO, errno.ETOOMANYREFS, errno.ELOOP, errno.ENOTDIR}
REOPEN = 5.0  # seconds after which the path is looked up again: it may have been moved or remounted


class DirectoryHandles:
    """Caches the open directories of one Maildir. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the Maildir.
        require: refuse, temporarily, to open a Maildir whose durability is below this level.
        separator: the separator between a name and its flags; None: determine which one the mount accepts.
        staging: where messages are written; None: the option that a probe has stored, else the default of
            the file system's type.
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

    def get(self, reopen: bool = False) -> OpenDirectories:
        """Return the open directories. They are reopened if they were opened more than five seconds ago.

        Args:
            reopen: reopen them in any case.

        Raises:
            NotAMaildir: they cannot be opened.
            TemporaryError: they are not as durable as required.
        """
        dirs = self._dirs
        if reopen or dirs is None or self._fs.monotonic() - dirs.opened > REOPEN:
            dirs = self._opened()
            if self._require is not None:
                _check_durability(dirs, self._require, self._path)
            # an operation that still uses the old ones keeps them open until it is done
            self._dirs = None if quirks(dirs.fstype).open_directories_stay_stale else dirs
        return dirs

    def _opened(self) -> OpenDirectories:
        """Open the directories. If our own descriptors keep them stale, close those and try once more."""
        try:
            return OpenDirectories(self._fs, self._path, self._inside)
        except NotAMaildir as error:
            cause = error.__cause__
            if self._dirs is None or not isinstance(cause, OSError) or cause.errno not in _STALE:
                raise
        self._dirs = None  # outside `except`, whose traceback would keep the descriptors open
        return OpenDirectories(self._fs, self._path, self._inside)

    def staging(self) -> str:
        """Return where messages are written: ``"tmp"`` or ``"new"``. Reads the options stored for the mount.

        Raises:
            NotAMaildir, TemporaryError: as `get`.
        """
        if self._staging is None or self._separator is None:
            mount = self.get().mount
            found, _ = stored_options(self._fs, self._path, mount)
            self._separator = self._separator or found.get("separator")
            self._staging = self._staging or found.get("staging") or quirks(mount.fstype).staging
        return self._staging

    def separator(self) -> str:
        """Return the separator, which the first call determines.

        Raises:
            TemporaryError: the mount accepts neither.
        """
        if self._separator is None:
            try:
                dirs = self.get()
                self._separator = find_separator(self._fs, dirs.tmp, dirs.fstype)
            except OSError as error:
                raise storage_error(f"{self._path}/tmp: a name with ':' and one with ';'", error) from error
        return self._separator

    def close(self) -> None:
        """Release the directories; the next call reopens them."""
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
