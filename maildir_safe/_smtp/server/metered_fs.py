"""The file system of the server: it times fsyncs and counts failed renames, for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.faults.faulty_fs import FaultyFileSystem

if TYPE_CHECKING:
    from maildir_safe._smtp.faults.faults import Faults


class Counts(Protocol):
    """Counts fsyncs and failed renames, in any thread."""

    def fsync(self, seconds: float) -> None:
        """Count an fsync, or a syncfs, that took so long."""

    def ambiguous_rename(self) -> None:
        """Count a rename that failed."""


class MeteredFileSystem(OsFileSystem):
    """The operating system's file calls; fsyncs and failed renames are counted.

    Args:
        counters: counts them.
    """

    def __init__(self, counters: Counts) -> None:
        self._counters = counters

    def fsync(self, fd: int) -> None:
        """See `FileSystem.fsync`."""
        start = self.monotonic()
        try:
            super().fsync(fd)
        finally:
            self._counters.fsync(self.monotonic() - start)

    def syncfs(self, fd: int) -> None:
        """See `FileSystem.syncfs`."""
        start = self.monotonic()
        try:
            super().syncfs(fd)
        finally:
            self._counters.fsync(self.monotonic() - start)

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:  # type: ignore[override]
        """See `FileSystem.rename`."""
        try:
            super().rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        except OSError:
            self._counters.ambiguous_rename()
            raise


class _MeteredFaultyFileSystem(MeteredFileSystem, FaultyFileSystem):
    """The same with scripted faults; what these make fail is counted too."""

    def __init__(self, counters: Counts, faults: Faults) -> None:
        MeteredFileSystem.__init__(self, counters)
        FaultyFileSystem.__init__(self, faults)


def server_file_system(counters: Counts, faults: Faults | None) -> MeteredFileSystem:
    """Return the file system of a server.

    Args:
        counters: counts fsyncs and failed renames.
        faults: the fault script; None: no scripted faults, and no call is delayed by a look at them.
    """
    return MeteredFileSystem(counters) if faults is None else _MeteredFaultyFileSystem(counters, faults)
