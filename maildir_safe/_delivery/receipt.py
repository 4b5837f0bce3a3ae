"""The receipt that a delivery returns, and the durability that it promises."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from maildir_safe._delivery.job import DeliveryJob

DURABILITY_LEVELS = ("none", "client", "file", "full")
"""Durability, weakest first.

* ``full``: file and directory were fsynced successfully. A crash loses nothing, provided that the mount
  tells the truth, which is not verified: a FUSE driver without directory fsync looks the same, because
  the kernel answers for it.
* ``file``: the file was fsynced; the mount cannot fsync a directory.
* ``client``: fsync succeeds but is known to promise nothing beyond this client (Coda, rclone).
* ``none``: the mount cannot fsync.
"""

STEPS = ("create", "write", "fsync", "close", "rename", "directory_fsync")


class Receipt:
    """Proof that a message was accepted.

    Attributes:
        path: the file as it was published; a reader may have moved it since.
        key: the name without flags, which `Maildir.open` and other methods take.
        durability: one of `DURABILITY_LEVELS`.
        size: bytes in the file, including headers that were put on top.
        renames: the number of rename calls made. More than one means that a reply was ambiguous, and
            that listings then showed the message once.
        repeated: True if an earlier delivery with the same id was found; then nothing was written.
    """

    __slots__ = ("_marks", "durability", "key", "path", "renames", "repeated", "size")

    def __init__(
        self,
        path: str,
        key: str,
        durability: str,
        size: int,
        renames: int = 1,
        marks: Sequence[float] = (),
        repeated: bool = False,
    ) -> None:
        self.path = path
        self.key = key
        self.durability = durability
        self.size = size
        self.renames = renames
        self.repeated = repeated
        self._marks = marks

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds that each of `STEPS` took; empty for a batch, whose jobs share the steps."""
        return {
            step: end - start for step, start, end in zip(STEPS, self._marks, self._marks[1:], strict=False)
        }

    def as_dict(self) -> dict[str, Any]:
        """The receipt as plain data, for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "_marks"}
        return {**plain, "seconds": {step: round(s, 6) for step, s in self.seconds.items()}}

    def __repr__(self) -> str:
        return f"Receipt(path={self.path!r}, durability={self.durability!r}, size={self.size})"


def outcome_of(job: DeliveryJob) -> Receipt | BaseException:
    """Return the receipt of a job that is done, or the error if there is none."""
    commit_record = job.commit_record
    if commit_record is None:
        return job.failure()
    return Receipt(
        f"{commit_record.place}/{job.name}",
        job.name[: len(job.name) - len(job.info)],
        commit_record.level if job.synced else "none",
        job.size,
        job.renames,
        commit_record.marks,
    )


def receipt_of(job: DeliveryJob) -> Receipt:
    """Return the receipt of a job that is done, or raise the error if there is none."""
    outcome = outcome_of(job)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
