"""Reading an item's file: whole, or not at all.

Three things look alike when a file ends early: the file is damaged, `read` failed for a moment and nobody
noticed (EAGAIN is silence to Python's own files), or another client's cache is old. The size in the item's
name tells them apart: `Damaged` is only what was read up to its end and has another size.
"""

from __future__ import annotations

import errno
import io
import stat
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.seals import remove_seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import Item

_BUFFER = 1 << 14


class Damaged(ValueError):
    """The file was read whole, and is not what its name promises."""


class ItemFile(io.RawIOBase):
    """An item's file, which ends after `size` bytes and no earlier: a read that takes less is an error.

    Args:
        fs: the file system's calls.
        fd: the file, opened for reading; closed with this.
        size: bytes from here on.
    """

    def __init__(self, fs: FileSystem, fd: int, size: int) -> None:
        self._fs = fs
        self._fd = fd
        self._left = size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some of it. Raises OSError: it cannot be read now, or ends too early."""
        if not self._left:
            return 0
        data = self._fs.read(self._fd, min(len(buffer), self._left))
        if not data:
            raise OSError(errno.EIO, "the file ended before all of it was read")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        """Close the descriptor; errors of that mean nothing, since nothing was written."""
        if not self.closed:
            close_quietly(self._fs, self._fd)
        super().close()


def no_file(fs: FileSystem, item: Item, dir_fd: int) -> Exception:
    """What to raise of an item that is not a file: a seal is removed, and was never an item."""
    if remove_seal(fs, dir_fd, item.name):
        return FileNotFoundError(errno.ENOENT, "a name that was sealed, and no item", item.name)
    return Damaged("it is no file")


def open_item(fs: FileSystem, item: Item, dir_fd: int) -> BinaryIO:
    """An item's file, of which the size was compared.

    Args:
        dir_fd: the directory that it lies in.

    Raises:
        Damaged: it was looked at as a whole, and is damaged.
        OSError: it cannot be read now.
    """
    fd = _open(fs, item, dir_fd)
    try:
        found = fs.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise no_file(fs, item, dir_fd)
        if found.st_size != item.size:
            _compare(fs, fd, item.size, found.st_size)
            again = fs.open(item.name, dir_fd)  # all is there, and the size was an old one
            close_quietly(fs, fd)
            fd = again
        if item.size > _BUFFER:
            return io.BufferedReader(ItemFile(fs, fd, item.size), _BUFFER)
        data = _read(fs, fd, item.size)  # most are small: read at once
    except BaseException:
        close_quietly(fs, fd)
        raise
    close_quietly(fs, fd)
    return io.BytesIO(data)


def _read(fs: FileSystem, fd: int, size: int) -> bytes:
    data = fs.read(fd, size)
    while len(data) < size:
        more = fs.read(fd, size - len(data))
        if not more:
            raise OSError(errno.EIO, "the file ended before all of it was read")
        data += more
    return data


def _open(fs: FileSystem, item: Item, dir_fd: int) -> int:
    try:
        return fs.open(item.name, dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP and stat.S_ISLNK(fs.stat(item.name, dir_fd).st_mode):
            raise Damaged("it is a symbolic link") from None
        raise


def _compare(fs: FileSystem, fd: int, promised: int, listed: int) -> None:
    """Count the bytes up to the end. Raises Damaged, or OSError where the system contradicts itself."""
    count = 0
    while count <= max(promised, listed) and (data := fs.read(fd, _BUFFER)):
        count += len(data)
    if count == promised:
        return
    if fs.fstat(fd).st_size != count:
        raise OSError(errno.EIO, "the size of the file is not what can be read of it")
    raise Damaged(f"it has {count} bytes, and its name says {promised}")


def read_whole(file: BinaryIO, on_error: Callable[[OSError], BaseException]) -> bytes:
    """All that is left of a file, which is closed then. Raises what `on_error` makes of an OSError."""
    try:
        return file.read()
    except OSError as error:
        raise on_error(error) from error
    finally:
        file.close()
