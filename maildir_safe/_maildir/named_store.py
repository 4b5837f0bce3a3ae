"""This package's Maildir, and what the standard library's allows beyond it: any name, place and date.

For `maildir_safe.mailbox`, whose interface is the standard library's.
"""

from __future__ import annotations

import errno
import os.path
from typing import TYPE_CHECKING

from maildir_safe._delivery.content import chunks
from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir.directories import SUBDIRS, subdirectories
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import TemporaryError, storage_error

if TYPE_CHECKING:
    from typing import BinaryIO

    from maildir_safe._maildir.message_store import Message


class NotEmpty(TemporaryError):
    """A Maildir that is to be removed holds something."""


class NamedStore(Maildir):
    """A Maildir whose callers choose names, places and dates. Thread-safe."""

    def put(self, data: bytes, subdir: str, name: str, mtime_ns: int | None, replaces: bool = False) -> None:
        """Deliver under a given name, a new one unless it `replaces` what has that name."""
        job = DeliveryJob(chunks(data), subdir)
        job.final = name
        job.mtime_ns = mtime_ns
        job.replaces = replaces
        self._pipeline.deliver(job)

    def rename_to(self, found: Message, subdir: str, name: str) -> None:
        """Rename, durably; FileNotFoundError if another was first."""
        dirs = self._open()
        self._reading.rename(dirs, found, dirs, name, subdir)

    def separator(self) -> str:
        """What this mount takes between a name and its info."""
        return self._open.separator()

    def unlink(self, found: Message) -> None:
        """Remove; FileNotFoundError if it has moved."""
        self._fs.unlink(found.name, dir_fd=self._open().fd(found.subdir))

    def open_file(self, found: Message) -> BinaryIO:
        """Open for reading; FileNotFoundError if it has moved, IsADirectoryError if it is no file."""
        return self._reading.open_file(self._open(), found)

    def read(self, found: Message) -> tuple[bytes, float]:
        """A message whole, and when it was written (seconds since 1970).

        Raises:
            TemporaryError: it cannot be read whole now.
            OSError: as `open_file`.
        """
        with self.open_file(found) as file:
            date = self._fs.fstat(file.fileno()).st_mtime
            try:
                return file.read(), date
            except OSError as error:
                if error.errno == errno.ESTALE:  # as if it had not been opened
                    raise
                raise storage_error(f"read {self.path}/{found.subdir}/{found.name}", error) from error

    def has(self, found: Message) -> bool:
        """Whether it is still where it was found."""
        try:
            self._fs.stat(found.name, self._open().fd(found.subdir))
        except FileNotFoundError:
            return False
        return True

    def times(self) -> dict[str, float]:
        """When new/ and cur/ were changed, seconds since 1970."""
        dirs = self._open()
        return {subdir: self._fs.fstat(dirs.fd(subdir)).st_mtime for subdir in ("new", "cur")}

    def remove(self, complaint: str) -> None:
        """Remove the whole Maildir, if it is empty.

        tmp/ goes first: once it is gone nothing can be delivered any more, and as long as it holds
        a file, which may be a message on its way, it does not go.

        Raises:
            NotEmpty: it is not. TemporaryError: it could not be removed.
        """
        root = self._open().root
        self.clean()
        if any(self.messages()) or {*subdirectories(self._fs, root)} - {*SUBDIRS}:
            raise NotEmpty(complaint)
        removed = []
        try:
            for subdir in SUBDIRS:
                self._fs.rmdir(subdir, root)
                removed.append(subdir)
        except OSError as error:
            for subdir in removed:
                self._fs.mkdir(subdir, root)
            raise NotEmpty(f"{complaint} ({error.strerror})") from error
        for name in self._fs.listdir(root):
            self._fs.unlink(name, dir_fd=root)
        self._remove_root()

    def _remove_root(self) -> None:
        above, name = os.path.split(self.path)
        fd = self._fs.open_dir(above)
        try:
            self._fs.rmdir(name, fd)
        except OSError as error:
            raise storage_error(f"remove {self.path}", error) from error
        finally:
            close_quietly(self._fs, fd)
