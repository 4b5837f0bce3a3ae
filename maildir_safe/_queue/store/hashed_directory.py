"""Hashed directories: hold/, failed/, corrupt/, notes/ and ids/ are split into parts that stay small.

    failed/7f/<item>        the part is a hash of the item's id

A part is created when it is first needed, and stays. Buckets keep pending/ short in a similar way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import make_directory

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

PARTS = [f"{number:02x}" for number in range(256)]
"""With some 4,000 names per directory (Coda, AFS) a hashed directory holds a million files."""


class HashPart:
    """An open part of a hashed directory.

    Attributes:
        dir_fd: its descriptor, closed when the last reference is dropped.
        sync: its shared fsync.
    """

    def __init__(self, fs: FileSystem, dir_fd: int, fstype: str) -> None:
        self._fs = fs
        self.dir_fd = dir_fd
        self.sync = DirectorySync(fs, dir_fd, fstype)

    def __del__(self) -> None:
        close_quietly(self._fs, self.dir_fd)

    def lists(self, name: str) -> bool:
        """Whether a listing shows a name; False also if the directory cannot be listed."""
        try:
            return name in self._fs.listdir(self.dir_fd)
        except OSError:
            return False


class HashedDirectory:
    """A hashed directory. Thread-safe.

    Args:
        fs: the file system's calls.
        dir_fd: the directory's descriptor; it remains the caller's.
        sync: its shared fsync.
        fstype: the mount's type.
    """

    def __init__(self, fs: FileSystem, dir_fd: int, sync: DirectorySync, fstype: str) -> None:
        self._fs = fs
        self._dir_fd = dir_fd
        self._sync = sync
        self._fstype = fstype
        self._durable: set[str] = set()

    def find(self, ident: str) -> HashPart:
        """The part of an item's file. Raises OSError: there is no such part, and so no such file."""
        return self._open(_part(ident))

    def make(self, ident: str) -> HashPart:
        """The part of an item's file, created if needed, and durable even if another process created it.

        Raises:
            OSError: the part cannot be created or fsynced.
        """
        name = _part(ident)
        try:
            part = self._open(name)
        except FileNotFoundError:
            part = HashPart(self._fs, make_directory(self._fs, name, self._dir_fd), self._fstype)
        if name not in self._durable:
            self._sync.sync()
            self._durable.add(name)
        return part

    def _open(self, name: str) -> HashPart:
        return HashPart(self._fs, self._fs.open_dir(name, self._dir_fd), self._fstype)


def _part(ident: str) -> str:
    from zlib import crc32  # most puts need no part

    return PARTS[crc32(ident.encode()) % len(PARTS)]
