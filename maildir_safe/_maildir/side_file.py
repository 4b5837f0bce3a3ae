"""Small files beside Maildirs, or beside tmp/, new/ and cur/: what belongs to messages and is not mail."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import publish_small_file
from maildir_safe.errors import TemporaryError, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.maildir import Maildir

    T = TypeVar("T")

_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR}


class SideFiles:
    """The directory that holds such files.

    Args:
        fs: the file system's calls.
        path: the directory.
    """

    def __init__(self, fs: FileSystem, path: str) -> None:
        self.fs, self.path = fs, path

    @classmethod
    def beside(cls, maildir: Maildir) -> SideFiles:
        """The root of a Maildir."""
        return cls(maildir._fs, maildir.path)

    def read(self, name: str, most: int) -> bytes | None:
        """Read a file; None if there is none.

        Args:
            name: the file's name.
            most: most bytes of it.

        Raises:
            TemporaryError: it cannot be read, is longer, or is not a file.
        """
        return self._inside(lambda root: self._read(root, f"{self.path}/{name}", name, most))

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, complete and durable; one with that name is replaced.

        Args:
            name: the file's name.
            data: its content.

        Raises:
            TemporaryError: the file may or may not be in place, and may not be durable.
        """
        try:
            self._inside(lambda root: publish_small_file(self.fs, root, name, data))
        except OSError as error:
            raise storage_error(f"write {self.path}/{name}", error) from error

    def _read(self, root: int, where: str, name: str, most: int) -> bytes | None:
        fs = self.fs
        try:
            fd = fs.open(name, root)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:  # a link, a socket
                raise TemporaryError(f"{where} is not a file") from error
            raise storage_error(f"read {where}", error) from error
        try:
            if not stat.S_ISREG(fs.fstat(fd).st_mode):
                raise TemporaryError(f"{where} is not a file")
            data = b""
            while len(data) <= most and (piece := fs.read(fd, most + 1 - len(data))):
                data += piece
        except OSError as error:
            raise storage_error(f"read {where}", error) from error
        finally:
            close_quietly(fs, fd)
        if len(data) > most:
            raise TemporaryError(f"{where} is longer than {most} bytes")
        return data

    def _inside(self, what: Callable[[int], T]) -> T:
        try:
            root = self.fs.open_dir(self.path)
        except OSError as error:
            raise storage_error(f"open {self.path}", error) from error
        try:
            return what(root)
        finally:
            close_quietly(self.fs, root)
