"""The directories of a spool, created and held open."""

from __future__ import annotations

import errno
import stat

from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import make_directory
from maildir_safe._queue.store.mount_rules import MountRules
from maildir_safe.errors import NotAMaildir, TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.hashed_directory import HashedDirectory

DIRECTORIES = ("tmp", "pending", "claimed", "alive", "fenced", "notes", "ids", "hold", "failed", "corrupt")
_HASHED = ("notes", "ids", "hold", "failed", "corrupt")


class Layout:
    """Descriptors of a spool's directories, closed when the last reference is dropped.

    Args:
        fs: the file system's calls.
        path: the spool.
        create: create the spool if nothing is there; the directory above it must exist.

    Attributes:
        root: the descriptor of the spool itself.
        fd: the descriptors of `DIRECTORIES`, by name.
        sync: their shared fsyncs, by name.
        rules: the rules of its mount.
        mount: the mount of pending/. fstype: its type, as in /proc/self/mountinfo.

    Raises:
        TemporaryError: the spool does not exist, cannot be created, or is not a spool.
    """

    def __init__(self, fs: FileSystem, path: str, create: bool) -> None:
        self._fs = fs
        self.path = path
        self.fd: dict[str, int] = {}
        where = path
        try:
            if create:
                from maildir_safe._maildir.directories import make

                make(fs, path, DIRECTORIES)
            self.root = self.fd[""] = fs.open_dir(path)
            for name in DIRECTORIES:
                where = f"{path}/{name}"
                self.fd[name] = self._open(name)
        except (OSError, NotAMaildir) as error:
            raise _unusable(fs, path, where, error) from error
        self.mount = fs.mount(self.fd["pending"])
        self.fstype = self.mount.fstype
        self.rules = MountRules(fs, path, self.mount)
        self.sync = {name: DirectorySync(fs, fd, self.fstype) for name, fd in self.fd.items()}
        self._hashed: dict[str, HashedDirectory] = {}

    @property
    def hashed(self) -> dict[str, HashedDirectory]:
        """The hashed directories, by name: ``notes``, ``ids``, ``hold``, ``failed``, ``corrupt``."""
        if not self._hashed:
            from maildir_safe._queue.store.hashed_directory import HashedDirectory  # most puts need none

            self._hashed = {
                name: HashedDirectory(self._fs, self.fd[name], self.sync[name], self.fstype)
                for name in _HASHED
            }
        return self._hashed

    def _open(self, name: str) -> int:
        try:
            return self._fs.open_dir(name, self.root)
        except FileNotFoundError:
            if name != "ids":
                raise
            return make_directory(self._fs, name, self.root)  # spools made before 0.1 have none

    def __del__(self) -> None:
        for fd in self.fd.values():
            close_quietly(self._fs, fd)

    def is_detached(self) -> bool:
        """Whether the path no longer leads to the open spool, because it was remounted or replaced.

        Raises:
            TemporaryError: this cannot be determined; the path may lead nowhere.
        """
        fs = self._fs
        try:
            held = _identity(fs, self.root)
        except OSError as error:
            if error.errno == errno.ESTALE:
                return True
            raise storage_error(f"look at {self.path}", error) from error
        try:
            now = self._looked_up()
            if now == held:
                return False
            # some mounts invent inode numbers at each look-up; a second look-up shows that
            return now[0] != held[0] or now == self._looked_up()
        except OSError as error:
            raise storage_error(f"open {self.path}", error) from error

    def _looked_up(self) -> tuple[int, int]:
        fd = self._fs.open_dir(self.path)
        try:
            return _identity(self._fs, fd)
        finally:
            close_quietly(self._fs, fd)


def _unusable(fs: FileSystem, path: str, where: str, error: OSError | NotAMaildir) -> TemporaryError:
    """The error for a spool of which `where` cannot be opened; it names a conflict if there is one."""
    from maildir_safe._maildir.conflict import FIRST_ANSWERS, conflict_at

    if conflict := conflict_at(fs, where):
        return NotAMaildir(conflict)
    if isinstance(error, NotAMaildir):
        return error
    if error.errno == errno.ENOENT and where == path:
        return TemporaryError(f"{path}: there is no spool; a worker, or 'queue put', makes one")
    hint = "; it may be in conflict" if error.errno in FIRST_ANSWERS else ""
    return storage_error(f"{where}: not a spool that can be used{hint}", error)


def _identity(fs: FileSystem, fd: int) -> tuple[int, int]:
    found = fs.fstat(fd)
    return found.st_dev, found.st_ino


def may_hold_items(fs: FileSystem, name: str, above: int) -> bool:
    """Report whether a name in the directory `above` may hold items. Only a stray surely does not.

    A directory may, and so may a Coda conflict, which looks like a link, and what cannot be looked at.
    """
    try:
        mode = fs.stat(name, above).st_mode
        return stat.S_ISDIR(mode) or (stat.S_ISLNK(mode) and fs.readlink(name, above).startswith("@"))
    except OSError:
        return True
