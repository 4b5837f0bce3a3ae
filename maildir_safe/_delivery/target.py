"""What the delivery pipeline asks of the place that it delivers into: a Maildir, or a spool's bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maildir_safe._handoff.group_commit import DirectorySync


class DeliveryTarget(Protocol):
    """Open directories: one to write in, and those to publish into.

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
        """See the class."""

    @property
    def durability(self) -> str:
        """See the class."""

    def moved_on(self, name: str) -> bool:
        """Whether what was published as `name`, and is there no more, is where readers move it.

        Raises:
            OSError: that cannot be looked at.
        """

    def fd(self, subdir: str) -> int:
        """The descriptor of the directory that jobs for `subdir` are published into."""


class NameSource(Protocol):
    """Makes names that no other message ever gets."""

    def new(self, hashed_ids: Sequence[str]) -> list[str]:
        """One name for each delivery id's hash; the hash is ``""`` where there is no id."""
