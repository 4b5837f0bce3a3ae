"""The rules of a mount for a spool on it: whether hosts may share the spool, and the shortest lease.

A stored probe result takes precedence over the defaults of the mount's type.
"""

from __future__ import annotations

import os.path

from maildir_safe._fs.quirks import quirks
from maildir_safe._fs.stored_options import stored_options
from maildir_safe._handoff.rename import close_quietly
from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem, Mount

LEASE = 10
"""The shortest default of a lease in seconds. What a dead host had claimed is back in the queue after four
thirds of it: an observer looks six times a lease."""

LEASE_IF_UNKNOWN = 300
"""The default on a type of mount of which nobody knows how long it hides other hosts' changes."""


def default_lease(fstype: str, hidden_for: float | None) -> int:
    """The default length of a lease on a mount, in seconds.

    Args:
        fstype: the type of the mount.
        hidden_for: its visibility delay in seconds, as measured; None: not measured.
    """
    row = quirks(fstype)
    if hidden_for is None and not row.hidden_for and not row.seen_at_once:
        return LEASE_IF_UNKNOWN
    hidden = row.hidden_for if hidden_for is None else hidden_for
    return max(LEASE, -int(-3 * hidden // 1))  # rounded up; `math` would be loaded by every put


def hold_no_directories(fs: FileSystem, path: str) -> FileSystem:
    """Return `fs`; on a mount where an open directory stays stale, no call of it leaves a directory open.

    Args:
        fs: the file system's calls.
        path: a directory, which may be about to be created.
    """
    for place in (path, os.path.dirname(path)):
        try:
            fd = fs.open_dir(place)
        except OSError:
            continue  # whoever uses it finds out why
        try:
            stale = quirks(fs.mount(fd).fstype).open_directories_stay_stale
        finally:
            close_quietly(fs, fd)
        if not stale:
            return fs
        from maildir_safe._fs.unheld import UnheldFileSystem

        return UnheldFileSystem(fs)  # type: ignore[return-value]
    return fs


class MountRules:
    """The rules for a spool on a mount.

    Args:
        fs: the file system's calls.
        path: the spool, which need not exist yet.
        mount: the mount that it is on, or will be on.
    """

    def __init__(self, fs: FileSystem, path: str, mount: Mount) -> None:
        self._path = path
        self._fstype = mount.fstype
        self._known, self._stored_in = stored_options(fs, os.path.abspath(path), mount)

    @classmethod
    def for_new(cls, fs: FileSystem, path: str) -> MountRules:
        """The rules for a spool that is about to be created.

        Raises:
            TemporaryError: the directory above cannot be opened.
        """
        parent = os.path.dirname(os.path.abspath(path))
        try:
            above = fs.open_dir(parent)
        except OSError as error:
            raise storage_error(f"{path}: cannot be made, {parent}", error) from error
        try:
            return cls(fs, path, fs.mount(above))
        finally:
            close_quietly(fs, above)

    @property
    def shareable(self) -> bool:
        """Whether several hosts can share a spool on this mount, as far as is known."""
        return quirks(self._fstype).one_rename_wins and "shared" not in self._known

    @property
    def shortest_lease(self) -> int:
        """The shortest lease, in seconds: three times the mount's visibility delay."""
        hidden: float = self._known.get("hidden_for", quirks(self._fstype).hidden_for)
        return int(-(-3 * hidden // 1))  # rounded up; `math` would be one more library to load

    @property
    def default_lease(self) -> int:
        """The lease of who asks for none, in seconds."""
        return default_lease(self._fstype, self._known.get("hidden_for"))

    def shared_lease(self, lease: int | None) -> int:
        """Refuse a mount on which several hosts cannot share a spool, or a lease too short for it.

        Args:
            lease: in seconds; None: `default_lease`.

        Returns:
            The lease to use, in seconds.

        Raises:
            TemporaryError: two hosts could both win the same item.
            ValueError: the lease is shorter than three times the mount's visibility delay.
        """
        if not self.shareable:
            why = f", says {self._stored_in}" if "shared" in self._known else ""
            raise TemporaryError(
                f"{self._path}: on this {self._fstype} two hosts can win the same rename{why}, so they must "
                "not share a spool's items. Run every host with shared=False (--alone): each works what it "
                "put itself"
            )
        least = self.shortest_lease
        if lease is None:
            return self.default_lease
        if lease < least:
            where = f" ({self._stored_in})" if "hidden_for" in self._known else ""
            why = f"on this {self._fstype} a lease is {least} seconds at least, not {lease}{where}"
            raise ValueError(f"{self._path}: {why}")
        return lease
