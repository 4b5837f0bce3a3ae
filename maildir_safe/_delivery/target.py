"""The interface of a delivery target: a Maildir or a bucket of a spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maildir_safe._handoff.group_commit import DirectorySync


class DeliveryTarget(Protocol):
    """Open directories: one in which files are written, and those into which they are published.

    Attributes:
        root: a descriptor of the directory that holds the others.
        tmp: a descriptor of the directory in which files are written.
        sync: the shared fsync of each directory that a job can be published into, by name.
        fstype: the file system's type, as /proc/self/mountinfo names it.
        durability: the best that the mount can promise, as one of `receipt.DURABILITY_LEVELS`.
    """

    root: int
    tmp: int
    fstype: str

    @property
    def sync(self) -> Mapping[str, DirectorySync]:
        """The shared fsync of each directory, by name."""

    @property
    def durability(self) -> str:
        """The best durability that the mount can promise."""

    def moved_on(self, name: str) -> bool:
        """Report whether a file published as `name`, and no longer there, is where readers move it.

        Raises:
            OSError: that place cannot be listed.
        """

    def fd(self, subdir: str) -> int:
        """Return the descriptor of the directory into which jobs for `subdir` are published."""


class NameSource(Protocol):
    """Makes names that no other message ever has."""

    def new(self, hashed_ids: Sequence[str]) -> list[str]:
        """Return one name for each hash of a delivery id; the hash is ``""`` if there is no id.

        The messages are not written yet: a field that depends on their contents belongs to `complete`.
        """

    def complete(self, unique: str, size: int) -> str:
        """Return a message's name, without info, once all of it is written.

        Args:
            unique: from `new`.
            size: bytes of the message.
        """
