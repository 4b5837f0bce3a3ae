"""A Maildir with the extra operations of the standard library's: any name, directory and date.

It is the basis of `maildir_safe.mailbox`, which has the standard library's interface.
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
    """A Maildir that is to be removed is not empty."""


class NamedStore(Maildir):
    """A Maildir whose callers choose names, directories and dates. Thread-safe."""

    def put(self, data: bytes, subdir: str, name: str, mtime_ns: int | None, replaces: bool = False) -> None:
        """Deliver under a given name.

        Args:
            data: the message.
            subdir: ``"new"`` or ``"cur"``.
            name: the file's name; a new one, unless `replaces`.
            mtime_ns: its modification time in nanoseconds since 1970; None: now.
            replaces: a message with that name is replaced.

        Raises:
            TemporaryError, UnknownOutcome: as `deliver`.
        """
        job = DeliveryJob(chunks(data), subdir)
        job.final = name
        job.mtime_ns = mtime_ns
        job.replaces = replaces
        self._pipeline.deliver(job)

    def rename_to(self, found: Message, subdir: str, name: str) -> None:
        """Rename a message durably; FileNotFoundError if another was first."""
        dirs = self._handles.get()
        self._reading.rename(dirs, found, dirs, name, subdir)

    def separator(self) -> str:
        """Return the separator between name and info that this mount accepts."""
        return self._handles.separator()

    def unlink(self, found: Message) -> None:
        """Remove a message; FileNotFoundError if it has moved."""
        self._fs.unlink(found.name, dir_fd=self._handles.get().fd(found.subdir))

    def open_file(self, found: Message) -> BinaryIO:
        """Open a message; FileNotFoundError if it has moved, IsADirectoryError if it is not a file."""
        return self._reading.open_file(self._handles.get(), found)

    def read(self, found: Message) -> tuple[bytes, float]:
        """Return the whole message and its modification time in seconds since 1970.

        Raises:
            TemporaryError: it cannot be read completely now.
            OSError: as `open_file`.
        """
        with self.open_file(found) as file:
            date = self._fs.fstat(file.fileno()).st_mtime
            try:
                return file.read(), date
            except OSError as error:
                if error.errno == errno.ESTALE:  # the caller treats it as not opened
                    raise
                raise storage_error(f"read {self.path}/{found.subdir}/{found.name}", error) from error

    def has(self, found: Message) -> bool:
        """Report whether a message is still where it was found."""
        try:
            self._fs.stat(found.name, self._handles.get().fd(found.subdir))
        except FileNotFoundError:
            return False
        return True

    def times(self) -> dict[str, float]:
        """Return the modification times of new/ and cur/, in seconds since 1970."""
        dirs = self._handles.get()
        return {subdir: self._fs.fstat(dirs.fd(subdir)).st_mtime for subdir in ("new", "cur")}

    def remove(self, complaint: str) -> None:
        """Remove the whole Maildir if it is empty.

        tmp/ is removed first. Without it nothing more can be delivered, and it cannot be removed while
        it holds a file, which may be a message in delivery.

        Args:
            complaint: the text of `NotEmpty`.

        Raises:
            NotEmpty: the Maildir is not empty.
            TemporaryError: it could not be removed.
        """
        root = self._handles.get().root
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
