"""Carries out calls with the credentials of this process.

For callers with the same credentials the supervisor uses an `Actor` of its own. For others it uses one in a
process that has their credentials (`helpers`), through the same methods.
"""

from __future__ import annotations

import errno
import os

from maildir_safe._fs import libc
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._shim.handoff import LinkHandoff, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem


class Place:
    """A name in a directory, looked up with the caller's credentials.

    Attributes:
        fd: the directory, good for lookups only (O_PATH); it belongs to the actor.
        identity: the directory's device and inode.
        path: the directory's path, without symbolic links, as seen from the caller's root.
        name: the name in it.
    """

    __slots__ = ("fd", "identity", "name", "path")

    def __init__(self, fd: int, identity: tuple[int, int], path: str, name: str) -> None:
        self.fd = fd
        self.identity = identity
        self.path = path
        self.name = name


class Actor:
    """Opens directories and does handoffs in them.

    Args:
        fs: the file system's calls.
        owns: whether a file of this user id counts as the caller's own.
        proc_fds: this process's own /proc/self/fd, which it may no longer reach by path.
        resolve_timeout: see `LinkHandoff`.
    """

    def __init__(
        self,
        fs: FileSystem | None = None,
        owns: Callable[[int], bool] | None = None,
        proc_fds: int | None = None,
        resolve_timeout: float | None = None,
    ) -> None:
        self._fs = fs or OsFileSystem()
        self._proc_fds = proc_fds
        self._handoff = LinkHandoff(self._fs, owns or (lambda uid: uid == os.geteuid()), resolve_timeout)

    def open(self, wanted: list[tuple[int | None, str]]) -> list[Place]:
        """Open the directories of some paths. The caller closes them with `close`.

        Args:
            wanted: per path the directory that it starts from (None if it is absolute), and the path.

        Raises:
            OSError: the caller's own call would fail in the same way, except ELOOP: the path may mean
                another directory in another process (`libc.open_directory`).
            ValueError: a path does not end in a plain name.
        """
        places: list[Place] = []
        try:
            for base, path in wanted:
                above, _, name = path.rpartition("/")
                if name in ("", ".", ".."):
                    raise ValueError(path)
                if path.startswith("/"):
                    fd = libc.open_directory(above or "/", None)
                else:
                    fd = libc.open_directory(above or ".", base)
                places.append(Place(fd, (0, 0), "", name))
                found = os.fstat(fd)
                places[-1].identity = (found.st_dev, found.st_ino)
                places[-1].path = self._path(fd)
        except BaseException:
            self.close(places)
            raise
        return places

    def _path(self, fd: int) -> str:
        if self._proc_fds is None:
            return os.readlink(f"/proc/self/fd/{fd}")
        return os.readlink(str(fd), dir_fd=self._proc_fds)

    def close(self, places: list[Place]) -> None:
        """Close directories."""
        for place in places:
            os.close(place.fd)

    def link(self, src: Place, dst: Place) -> int:
        """The bare link: its errno, or 0."""
        return self._handoff.link(src.fd, src.name, dst.fd, dst.name)

    def unlink(self, place: Place) -> int:
        """The bare unlink: its errno, or 0."""
        return self._handoff.unlink(place.fd, place.name)

    def handoff(self, src: Place, dst: Place, private: bool, durable: bool) -> Result:
        """A link or its replacement (`LinkHandoff.do`), then the directory's fsync if `durable`."""
        result = self._handoff.do(src.fd, src.name, dst.fd, dst.name, private)
        if durable and not result.error:
            result.error = self._sync(src, dst)
        return result

    def rename(self, src: Place, dst: Place, noreplace: bool) -> int:
        """The program's own rename, then the directory's fsync: its errno, or 0."""
        rename = self._fs.rename_noreplace if noreplace else self._fs.rename
        try:
            rename(src.name, dst.name, src_dir_fd=src.fd, dst_dir_fd=dst.fd)
        except OSError as error:
            return error.errno or errno.EIO
        return self._sync(src, dst)

    def _sync(self, src: Place, dst: Place) -> int:
        """Make the target's directory durable, as far as the mount can fsync directories."""
        try:
            fd = self._fs.open_dir(".", dst.fd)
            try:
                # a file from outside tmp/ may come back under its old name; see DirectorySync
                fstype = "" if src.path.endswith("/tmp") else self._fs.mount(fd).fstype
                DirectorySync(self._fs, fd, fstype).sync()
            finally:
                self._fs.close(fd)
        except OSError:
            return errno.EIO
        return 0
