"""Directories that are open only during a call, for mounts where an open directory stays stale.

A Coda client does not fetch a directory anew while any process of the host has it open. A spool has many
directories that are used for as long as it is open, so there `open_dir` returns a number that stands for the
path, and each call opens the directory, and closes it again.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from typing import Any

    from maildir_safe._fs import FileSystem

# calls that take the descriptor of a directory
_TAKING_DIRECTORIES = (
    "create", "open", "fsync", "syncfs", "rename", "rename_noreplace", "link", "unlink", "mkdir", "rmdir",
    "listdir", "stat", "fstat", "readlink", "chmod", "utime", "mount",
)  # fmt: skip
_OTHERS = (
    "read", "reader", "write", "start_writing", "time_ns", "monotonic", "boottime", "sleep", "random",
)  # fmt: skip

_FIRST = 1 << 30  # no process has so many descriptors


class UnheldFileSystem:
    """The calls of another `FileSystem`, to which a directory is the names on the way to it. Thread-safe."""

    def __init__(self, fs: FileSystem) -> None:
        from contextlib import ExitStack  # 3 ms, which other mounts do not need

        def unheld(call: Callable[..., Any]) -> Callable[..., Any]:
            def with_directories(*args: Any, **named: Any) -> Any:
                with ExitStack() as opened:
                    real = [self._opened(opened, arg) for arg in args]
                    really = {key: self._opened(opened, arg) for key, arg in named.items()}
                    return call(*real, **really)

            return with_directories

        self._fs = fs
        self.owner = getattr(fs, "owner", None)
        self._numbers = itertools.count(_FIRST)
        self._ways: dict[int, tuple[str, ...]] = {}
        for name in _OTHERS:
            setattr(self, name, getattr(fs, name))
        for name in _TAKING_DIRECTORIES:
            setattr(self, name, unheld(getattr(fs, name)))

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        """See `FileSystem.open_dir`. The directory is opened, so that errors show, and closed."""
        way: tuple[str, ...] = (path,)
        if dir_fd is not None:
            above = self._ways.get(dir_fd)
            if above is None:  # a descriptor that this object has not made
                return self._fs.open_dir(path, dir_fd)
            way = (*above, path)
        self._close(self._open(way))
        number = next(self._numbers)
        self._ways[number] = way
        return number

    def close(self, fd: int) -> None:
        """See `FileSystem.close`."""
        if self._ways.pop(fd, None) is None:
            self._fs.close(fd)

    def _opened(self, opened: ExitStack, argument: Any) -> Any:
        """The argument; for a directory's number a descriptor, which `opened` closes."""
        way = self._ways.get(argument) if type(argument) is int else None
        if way is None:
            return argument
        fd = self._open(way)
        opened.callback(self._close, fd)
        return fd

    def _open(self, way: tuple[str, ...]) -> int:
        fd = self._fs.open_dir(way[0])
        for name in way[1:]:
            above = fd
            try:
                fd = self._fs.open_dir(name, above)
            finally:
                self._close(above)
        return fd

    def _close(self, fd: int) -> None:
        _close(self._fs, fd)


def _close(fs: FileSystem, fd: int) -> None:
    try:
        fs.close(fd)
    except OSError:
        pass  # nothing was written by it
