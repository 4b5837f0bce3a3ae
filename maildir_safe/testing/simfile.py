"""A raw file object over a descriptor of a simulated host, for `io.BufferedReader` and similar classes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maildir_safe.testing.simhost import SimHost


class SimFile(io.RawIOBase):
    """A file object over a descriptor of the host."""

    def __init__(self, host: SimHost, fd: int, path: str) -> None:
        self.host = host
        self.fd = fd
        self.name = path

    def fileno(self) -> int:
        return self.fd

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.host.seek(self.fd, offset, whence)

    def readinto(self, buffer: Any) -> int | None:
        try:
            piece = self.host.read(self.fd, len(buffer))
        except BlockingIOError:
            return None  # as `io.FileIO` does after EAGAIN
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, data: Any) -> int:
        return self.host.write(self.fd, bytes(data))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.host.close(self.fd)
