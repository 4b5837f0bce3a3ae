"""A message's file, read completely or with an error: a short read must never truncate a message.

A mount may answer a read with EAGAIN, which Python's own files treat as "nothing more now", or with no
bytes before the end of the file.
"""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING

from maildir_safe.errors import PermanentError

if TYPE_CHECKING:
    from typing import Any, BinaryIO

_BUFFER = 1 << 16


class _WholeFile(io.RawIOBase):
    """The raw file, which ends at `size` and not before."""

    def __init__(self, raw: Any, size: int) -> None:
        self._raw = raw
        self._size = size
        self._at = 0

    def expect(self, size: int) -> None:
        """End at another size: the one that the system reported was old."""
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = self._raw.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        taken: int | None = self._raw.readinto(buffer)
        if taken is None:
            raise BlockingIOError(errno.EAGAIN, "nothing could be read now")
        if not taken and len(buffer) and self._at < self._size:
            raise OSError(errno.EIO, f"only {self._at} of {self._size} bytes could be read")
        self._at += taken
        return taken

    def readall(self) -> bytes:
        parts: list[bytes] = []
        while True:
            part = bytearray(max(self._size - self._at, 1))
            taken = self.readinto(part)
            if not taken:
                return b"".join(parts)
            parts.append(bytes(part[:taken]) if taken < len(part) else bytes(part))

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def whole(file: BinaryIO, size: int, promised: int | None = None) -> BinaryIO:
    """Return a file that raises OSError if fewer bytes can be read from it than it has.

    Args:
        file: from `FileSystem.reader`, not read yet; the result owns it.
        size: its size in bytes, as the system reports it.
        promised: the size in its name; None if there is none.

    Raises:
        PermanentError: it was read to its end and is shorter than its name says, and is not compressed.
        OSError: it cannot be read now.
    """
    raw = _WholeFile(file.detach(), size)  # type: ignore[attr-defined]
    found = io.BufferedReader(raw, min(max(size, 512), _BUFFER))
    if promised is not None and size < promised:
        try:
            _look_at_short_file(found, raw, promised)
        except BaseException:
            found.close()
            raise
    return found


def _look_at_short_file(file: BinaryIO, raw: _WholeFile, promised: int) -> None:
    """Decide whether a file is compressed, damaged, or has an old size in this client's cache."""
    from maildir_safe._maildir.compressed import HEAD, compression

    if compression(file.read(HEAD)):
        file.seek(0)
        return
    file.seek(0)
    count = 0
    while count < promised and (data := file.read(_BUFFER)):
        count += len(data)
    if count < promised:
        raise PermanentError(f"the message is damaged: it has {count} bytes, and its name says {promised}")
    raw.expect(promised)
    file.seek(0)
