"""A file system whose calls fail by script: the storage faults of `faults`."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from maildir_safe._fs.posix import OsFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from maildir_safe._smtp.faults.faults import Faults

    T = TypeVar("T")


class FaultyFileSystem(OsFileSystem):
    """The operating system's file calls, with the script's faults.

    Args:
        faults: the script, consulted before each of `faults.CALLS`.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def follow(self, faults: Faults) -> None:
        """Follow another script from the next call on."""
        self._faults = faults

    def _play(self, call: str, effect: Callable[[], T]) -> T:
        fault = self._faults.at(call)
        if fault is None:
            return effect()
        time.sleep(fault.delay)
        if not fault.error:
            return effect()
        if fault.executed:
            effect()
        number = getattr(errno, fault.error)
        raise OSError(number, os.strerror(number))

    def create(self, name: str, dir_fd: int) -> int:
        """See `FileSystem.create`."""
        return self._play("create", lambda: OsFileSystem.create(self, name, dir_fd))

    def write(self, fd: int, data: bytes | memoryview) -> int:  # type: ignore[override]
        """See `FileSystem.write`."""
        return self._play("write", lambda: OsFileSystem.write(fd, data))

    def fsync(self, fd: int) -> None:
        """See `FileSystem.fsync`; for files and directories."""
        self._play("fsync", lambda: OsFileSystem.fsync(self, fd))

    def syncfs(self, fd: int) -> None:
        """See `FileSystem.syncfs`: replaces the fsyncs of a batch of deliveries."""
        self._play("fsync", lambda: OsFileSystem.syncfs(self, fd))

    def close(self, fd: int) -> None:
        """See `FileSystem.close`; for files and directories."""
        self._play("close", lambda: OsFileSystem.close(fd))

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:  # type: ignore[override]
        """See `FileSystem.rename`."""
        self._play(
            "rename", lambda: OsFileSystem.rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        )
