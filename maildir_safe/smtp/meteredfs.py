"""The file system of the server: what it costs and what is unclear is counted, for metrics."""

from __future__ import annotations

from maildir_safe.smtp.faultyfs import FaultyFileSystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe.smtp.faults import Faults
    from maildir_safe.smtp.tally import Tally


class MeteredFileSystem(FaultyFileSystem):
    """A `FaultyFileSystem` whose fsyncs and failed renames are counted, those that the script made fail too.

    Args:
        tally: where they are counted.
        faults: the script; None for the operating system's calls as they are.
    """

    def __init__(self, tally: Tally, faults: Faults | None = None) -> None:
        super().__init__(faults)
        self._tally = tally

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        """See `FileSystem.fsync`."""
        start = self.monotonic()
        try:
            super().fsync(fd)
        finally:
            self._tally.fsync(self.monotonic() - start)

    def syncfs(self, fd: int) -> None:
        """See `FileSystem.syncfs`."""
        start = self.monotonic()
        try:
            super().syncfs(fd)
        finally:
            self._tally.fsync(self.monotonic() - start)

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:  # type: ignore[override]
        """See `FileSystem.rename`."""
        try:
            super().rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        except OSError:
            self._tally.ambiguous_rename()
            raise
