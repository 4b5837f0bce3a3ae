"""Reading an item's file: completely, or with an error.

When a file ends early, there are three possible reasons: the file is damaged, a `read` failed without an
error (Python's own files ignore EAGAIN), or this client's cache is old. The size in the item's name tells
them apart: a file is `Damaged` only if it was read to its end and has another size.
"""

from __future__ import annotations

import errno
import io
import stat

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.seals import remove_seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import Item

_BUFFER = 1 << 14


class Damaged(ValueError):
    """The file was read completely, and does not match its name."""


class ItemFile(io.RawIOBase):
    """An item's file, which ends after exactly `size` bytes; an earlier end is an error.

    Args:
        fs: the file system's calls.
        fd: the file, opened for reading; `close` closes it.
        size: bytes from the current position.
    """

    def __init__(self, fs: FileSystem, fd: int, size: int) -> None:
        self._fs = fs
        self._fd = fd
        self._left = size

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some bytes. Raises OSError: the file cannot be read now, or ends too early."""
        if not self._left:
            return 0
        data = self._fs.read(self._fd, min(len(buffer), self._left))
        if not data:
            raise OSError(errno.EIO, "the file ended before all of it was read")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        """Close the descriptor. Errors are ignored, since nothing was written."""
        if not self.closed:
            close_quietly(self._fs, self._fd)
        super().close()


def no_file(fs: FileSystem, item: Item, dir_fd: int) -> Exception:
    """The error for an entry that is not a file. A seal is removed instead, since it never was an item."""
    if remove_seal(fs, dir_fd, item.name):
        return FileNotFoundError(errno.ENOENT, "a sealed name, not an item", item.name)
    return Damaged("it is not a file")


def open_item(
    fs: FileSystem, item: Item, dir_fd: int, if_linked: Callable[[], object] | None = None
) -> BinaryIO:
    """Open an item's file, and check its size.

    Args:
        dir_fd: the directory that it is in.
        if_linked: called if the file has more than one name; see `second_names.keep_one_name`.

    Raises:
        Damaged: the file was read completely, and is damaged.
        OSError: the file cannot be read now.
    """
    fd = _open(fs, item, dir_fd)
    try:
        found = fs.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise no_file(fs, item, dir_fd)
        if found.st_size != item.size:
            _compare(fs, fd, item.size, found.st_size)
            again = fs.open(item.name, dir_fd)  # the file is complete; the reported size was old
            close_quietly(fs, fd)
            fd = again
        if found.st_nlink > 1 and if_linked is not None:
            if_linked()
        if item.size > _BUFFER:
            return io.BufferedReader(ItemFile(fs, fd, item.size), _BUFFER)
        data = _read(fs, fd, item.size)  # most items are small: read them at once
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
    """Count the bytes to the end. Raises Damaged, or OSError if size and content contradict each other."""
    count = 0
    while count <= max(promised, listed) and (data := fs.read(fd, _BUFFER)):
        count += len(data)
    if count == promised:
        return
    if fs.fstat(fd).st_size != count:
        raise OSError(errno.EIO, "the size of the file is not the number of bytes that can be read")
    raise Damaged(f"it has {count} bytes, and its name says {promised}")


def read_whole(file: BinaryIO, on_error: Callable[[OSError], BaseException]) -> bytes:
    """Read the rest of a file and close it. An OSError is converted by `on_error` and raised."""
    try:
        return file.read()
    except OSError as error:
        raise on_error(error) from error
    finally:
        file.close()
