"""A message on its way into a directory."""

from __future__ import annotations

from maildir_safe._delivery.receipt import Receipt
from maildir_safe.errors import UnknownOutcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.content import Chunks

TRIES = 3
"""How often a job is tried whose failure a new file may mend."""


class CommitRecord:
    """What the jobs of one batch have in common when they are durable.

    Attributes:
        place: the directory that they are in, as a path.
        level: how durable they are; see `receipt.DURABILITY_LEVELS`.
        marks: when each step was over, for a batch of one; else empty.
    """

    __slots__ = ("level", "marks", "place")

    def __init__(self, place: str, level: str, marks: Sequence[float]) -> None:
        self.place = place
        self.level = level
        self.marks = marks


class DeliveryJob:
    """One message on its way: what it is, where it goes, and what became of it.

    Args:
        chunks: the message's bytes; see `maildir_safe._delivery.content`.

    Attributes:
        timed: whether anybody wants to know how long each step took.
        subdir: the directory it goes to.
        info: what follows the size in its name.
        hashed_id: its delivery id, as `names.id_hash` makes it.
        tries: how many attempts are left.
        final: the name to publish under; by default a new unique name, its size and `info`.
        mtime_ns: the file's date, nanoseconds since 1970; by default when it was written.
        replaces: whether a message under the name `final` may be there already, to be replaced.
        fd: its file while that is open; else -1.
        unique: its unique name, new for each attempt.
        name: what it was published as, or was to be.
        size: bytes in the file.
        renames: rename calls that it took.
        synced: whether the file was fsynced, which some mounts cannot.
        proof: set when it is delivered; else `error` says why not.
        again: whether a new file, or directories opened anew, may help.
    """

    timed = True

    __slots__ = (
        "again",
        "chunks",
        "commit_record",
        "error",
        "fd",
        "final",
        "hashed_id",
        "info",
        "mtime_ns",
        "name",
        "renames",
        "replaces",
        "size",
        "subdir",
        "synced",
        "tries",
        "unique",
    )

    def __init__(self, chunks: Chunks, subdir: str = "new", info: str = "", hashed_id: str = "") -> None:
        self.chunks = chunks
        self.subdir = subdir
        self.info = info
        self.hashed_id = hashed_id
        self.tries = TRIES
        self.final = ""
        self.mtime_ns: int | None = None
        self.replaces = False
        self.fd = -1
        self.unique = ""
        self.name = ""
        self.size = 0
        self.renames = 1
        self.synced = True
        self.commit_record: CommitRecord | None = None
        self.error: BaseException | None = None
        self.again = False

    def reset(self) -> None:
        """Ready for another attempt."""
        self.size = 0
        self.renames = 1
        self.synced = True
        self.error = None
        self.again = False

    def outcome(self) -> Receipt | BaseException:
        """The receipt, or why there is none."""
        commit_record = self.commit_record
        if commit_record is None:
            return self.failure()
        return Receipt(
            f"{commit_record.place}/{self.name}",
            self.name[: len(self.name) - len(self.info)],
            commit_record.level if self.synced else "none",
            self.size,
            self.renames,
            commit_record.marks,
        )

    def failure(self) -> BaseException:
        """Why there is no receipt."""
        return self.error or UnknownOutcome("the delivery was interrupted")

    def result(self) -> Receipt:
        """The receipt, or the error raised."""
        outcome = self.outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome
