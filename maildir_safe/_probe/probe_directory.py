"""A probe's own folder on a mount, which the checks use."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from maildir_safe._fs import FileSystem
from maildir_safe._handoff.removing import remove_tree
from maildir_safe._handoff.rename import close_quietly

Call = Callable[[], object]


class ProbeDirectory:
    """A folder with two directories, ``a`` and ``b``, and short methods for checks.

    Args:
        fs: the file system's calls.
        path: the directory in which the folder lies.
        name: the folder's name.
        make: make it; otherwise it is there already.

    Raises:
        OSError: it cannot be made or opened; nothing of it is left, and nothing stays open.
    """

    def __init__(self, fs: FileSystem, path: str, name: str, make: bool = True) -> None:
        self.fs = fs
        self.name = name
        self._path = path
        self._count = 0
        self.a = self.b = self.root = self._above = -1
        try:
            if make:
                self._make()
            self._open()
        except OSError:
            if make:
                self._unmake()
            self.leave()
            raise

    def _make(self) -> None:
        self._above = self.fs.open_dir(self._path)
        self.fs.mkdir(self.name, self._above)
        self.root = self.fs.open_dir(self.name, self._above)
        self.fs.mkdir("a", self.root)
        self.fs.mkdir("b", self.root)

    def _unmake(self) -> None:
        """Remove what `_make` made before it failed, as on a full disk."""
        if self.root >= 0:
            self.errno(lambda: self.fs.rmdir("a", self.root))
        if self._above >= 0:
            self.errno(lambda: self.fs.rmdir(self.name, self._above))

    def _open(self) -> None:
        self.leave()
        self._above = self.fs.open_dir(self._path)
        self.root = self.fs.open_dir(self.name, self._above)
        self.a, self.b = self.fs.open_dir("a", self.root), self.fs.open_dir("b", self.root)

    def look_again(self) -> None:
        """Close all directories and reopen them; see `Quirks.open_directories_stay_stale`.

        A Coda client does not fetch a directory that another client changed while it is held open.
        If a directory cannot be opened now, the next call on it fails, and the caller repeats.
        """
        self.errno(self._open)

    def fresh(self) -> str:
        """Return a name that was not used before."""
        self._count += 1
        return f"p{self._count}.{self.fs.random(4).hex()}"

    def put(self, directory: int, name: str | None = None, data: bytes = b"probe\n") -> str:
        """Make a file with these contents; return its name."""
        name = name or self.fresh()
        fd = self.fs.create(name, directory)
        try:
            self.fs.write(fd, data)
        finally:
            self.fs.close(fd)
        return name

    @staticmethod
    def errno(call: Call) -> int:
        """Make a call; return 0 if it succeeds, else its errno."""
        try:
            call()
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def recover(self) -> None:
        """Wait until plain calls work again: an unsupported name breaks smbnetfs's connection for 3 s."""
        for _ in range(20):
            if not self.errno(lambda: self.put(self.a)):
                return
            self.fs.sleep(0.5)

    def has(self, directory: int, name: str) -> bool:
        """Report whether a fresh listing shows the name."""
        return name in self.fs.listdir(directory)

    def empty(self) -> None:
        """Remove everything in ``a`` and ``b`` that can be removed."""
        for directory in (self.a, self.b):
            self._clear(directory)

    def _clear(self, directory: int) -> None:
        for name in self.fs.listdir(directory):
            if self.errno(lambda name=name: self.fs.unlink(name, dir_fd=directory)):  # type: ignore[misc]
                self.errno(lambda name=name: remove_tree(self.fs, name, directory))  # type: ignore[misc]

    def leave(self) -> None:
        """Close the descriptors and leave the folder in place."""
        for fd in (self.a, self.b, self.root, self._above):
            if fd >= 0:
                close_quietly(self.fs, fd)
        self.a = self.b = self.root = self._above = -1

    def remove(self) -> None:
        """Remove the folder and its contents; what cannot be removed is left behind."""
        for pause in (0, 1, 2, 4, 8):  # rclone uploads removed files, and shows them 5 s later
            self.fs.sleep(pause)
            self.errno(self.empty)
            for directory in ("a", "b"):
                self.errno(lambda directory=directory: self.fs.rmdir(directory, self.root))  # type: ignore[misc]
            if self.errno(lambda: self.fs.rmdir(self.name, self._above)) in (0, errno.ENOENT):
                break
        self.leave()


def said(number: int) -> str:
    """Return an errno for people: ``EXDEV (Invalid cross-device link)``; 0 is ``works``."""
    return f"{errno.errorcode.get(number, str(number))} ({os.strerror(number)})" if number else "works"


def named(number: int) -> str:
    """Return an errno for programs: ``EXDEV``; 0 is ``ok``."""
    return errno.errorcode.get(number, str(number)) if number else "ok"


def plain(value: Any) -> str:
    """Return ``yes`` or ``no``."""
    return "yes" if value else "no"
