"""The file system of the server: it times fsyncs and counts failed renames, for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._smtp.faults.faulty_fs import FaultyFileSystem

if TYPE_CHECKING:
    from maildir_safe._smtp.faults.faults import Faults
    from maildir_safe._smtp.server.counters import Counters


class MeteredFileSystem(FaultyFileSystem):
    """A `FaultyFileSystem` that counts fsyncs and failed renames, including those failed by the fault script.

    Args:
        counters: counts them.
        faults: the fault script; None: no scripted faults.
    """

    def __init__(self, counters: Counters, faults: Faults | None = None) -> None:
        super().__init__(faults)
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
