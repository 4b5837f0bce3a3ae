"""The directories of a spool, made and held open."""

from __future__ import annotations

import errno
import os.path
from math import ceil
from typing import TYPE_CHECKING

from maildir_safe._fs.quirks import quirks
from maildir_safe._fs.stored_options import stored_options
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._maildir.directories import make
from maildir_safe._queue.store.hashed_directory import HashedDirectory
from maildir_safe.errors import TemporaryError, storage_error

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

DIRECTORIES = ("tmp", "pending", "claimed", "alive", "fenced", "notes", "hold", "failed", "corrupt")
_SHELVES = ("notes", "hold", "failed", "corrupt")

LEASE = 300


class Layout:
    """Descriptors of a spool's directories, closed when the last user lets go.

    Args:
        fs: the file system's calls.
        path: the spool.
        create: make it if nothing is there; the directory above it must exist.

    Attributes:
        root: a descriptor of the spool itself.
        fd: a descriptor for each of `DIRECTORIES`, by name.
        sync: the shared fsync of each, by name.
        shelf: those that are in parts, by name: ``notes``, ``hold``, ``failed``, ``corrupt``.
        mount: what pending/ lies on; fstype: its type, as /proc/self/mountinfo names it.

    Raises:
        TemporaryError: it is not there, cannot be made, or is not a spool.
    """

    def __init__(self, fs: FileSystem, path: str, create: bool) -> None:
        self._fs = fs
        self.path = path
        self.fd: dict[str, int] = {}
        if create:
            make(fs, path, DIRECTORIES)
        try:
            self.root = self.fd[""] = fs.open_dir(path)
            for name in DIRECTORIES:
                self.fd[name] = fs.open_dir(name, self.root)
        except OSError as error:
            raise storage_error(f"{path}: not a spool that can be used", error) from error
        self.mount = fs.mount(self.fd["pending"])
        self.fstype = self.mount.fstype
        self._known, self._stored_in = stored_options(fs, os.path.abspath(path), self.mount)
        self.sync = {name: DirectorySync(fs, fd, self.fstype) for name, fd in self.fd.items()}
        self.hashed = {
            name: HashedDirectory(fs, self.fd[name], self.sync[name], self.fstype) for name in _SHELVES
        }

    def __del__(self) -> None:
        for fd in self.fd.values():
            close_quietly(self._fs, fd)

    def is_detached(self) -> bool:
        """Whether the path leads elsewhere now than to what is held open: it was mounted anew, or replaced.

        Raises:
            TemporaryError: nobody can tell; the path may lead nowhere.
        """
        fs = self._fs
        try:
            held = _identity(fs, self.root)
        except OSError as error:
            if error.errno == errno.ESTALE:
                return True
            raise storage_error(f"look at {self.path}", error) from error
        try:
            now = self._looked_up()
            if now == held:
                return False
            # where inode numbers are made up at each look, they tell nothing
            return now[0] != held[0] or now == self._looked_up()
        except OSError as error:
            raise storage_error(f"open {self.path}", error) from error

    def _looked_up(self) -> tuple[int, int]:
        fd = self._fs.open_dir(self.path)
        try:
            return _identity(self._fs, fd)
        finally:
            close_quietly(self._fs, fd)

    @property
    def shareable(self) -> bool:
        """Whether several hosts can work a spool together on this mount, as far as is known."""
        return quirks(self.fstype).shared and "shared" not in self._known

    @property
    def shortest_lease(self) -> int:
        """In seconds: three times what the mount hides of other hosts' changes."""
        hidden: float = self._known.get("hidden_for", quirks(self.fstype).hidden_for)
        return ceil(3 * hidden)

    def shared_lease(self, lease: int | None) -> int:
        """Refuse a mount on which several hosts cannot share a spool, or a lease too short for it.

        What a probe has stored for the mount counts more than what is known of its type.

        Args:
            lease: in seconds; None: `LEASE`, or more where the mount needs it.

        Returns:
            The lease to use, in seconds.

        Raises:
            TemporaryError: two hosts could both win the same item.
            ValueError: the lease is shorter than three times what the mount hides.
        """
        if not self.shareable:
            why = f", says {self._stored_in}" if "shared" in self._known else ""
            raise TemporaryError(
                f"{self.path}: on this {self.fstype} two hosts can win the same rename{why}, so they must "
                "not share a spool's items. Run every host with shared=False (--alone): each works what it "
                "put itself"
            )
        least = self.shortest_lease
        if lease is None:
            return max(LEASE, least)
        if lease < least:
            where = f" ({self._stored_in})" if "hidden_for" in self._known else ""
            raise ValueError(
                f"{self.path}: on this {self.fstype} a lease is {least} seconds at least, not {lease}{where}"
            )
        return lease


def _identity(fs: FileSystem, fd: int) -> tuple[int, int]:
    found = fs.fstat(fd)
    return found.st_dev, found.st_ino
