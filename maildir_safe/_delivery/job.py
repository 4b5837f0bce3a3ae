"""The state of one delivery: its message, its target and its outcome."""

from __future__ import annotations

from maildir_safe.errors import UnknownOutcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.content import Chunks

ATTEMPTS = 3
"""Attempts for a job whose failure a newly written file may cure."""


class CommitRecord:
    """The facts that the durable jobs of one batch share.

    Attributes:
        place: the directory that holds the messages, as a path.
        level: their durability, as one of `receipt.DURABILITY_LEVELS`.
        marks: the times at which the steps ended, for a batch of one job; else empty.
    """

    __slots__ = ("level", "marks", "place")

    def __init__(self, place: str, level: str, marks: Sequence[float]) -> None:
        self.place = place
        self.level = level
        self.marks = marks


class DeliveryJob:
    """The delivery of one message: its content, its target and its outcome.

    Args:
        chunks: the message's bytes, from `maildir_safe._delivery.content.chunks`; dropped once it is stored.

    Attributes:
        timed: whether to record how long each step takes.
        subdir: the directory to which it goes.
        info: the part of its name after the size.
        hashed_id: the hash of its delivery id, from `_names.id_hash`; else ``""``. What it means is the
            business of the source of names.
        attempts_left: how many attempts are left, the present one included.
        final: the name to publish it under; by default a new unique name, its size and `info`.
        mtime_ns: the file's modification time, in nanoseconds since 1970; None: when it is written.
        replaces: whether a message named `final` may exist already and is replaced.
        fd: the descriptor of its file while that is open; else -1.
        unique: its unique name, new for each attempt.
        name: the name under which it was, or was to be, published.
        size: bytes in the file.
        renames: the number of rename calls made.
        synced: whether the file was fsynced, which some mounts cannot do.
        commit_record: set once it is delivered.
        error: why it was not delivered; None if there was no error.
        retriable: whether a new file or reopened directories may cure the error.
    """

    timed = True

    @property
    def keeps_name(self) -> bool:
        """Whether another attempt would have the same unique name, so that only the caller may make one."""
        return False

    __slots__ = (
        "attempts_left",
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
        "retriable",
        "size",
        "subdir",
        "synced",
        "unique",
    )

    def __init__(self, chunks: Chunks, subdir: str = "new", info: str = "", hashed_id: str = "") -> None:
        self.chunks = chunks
        self.subdir = subdir
        self.info = info
        self.hashed_id = hashed_id
        self.attempts_left = ATTEMPTS
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
        self.retriable = False

    @property
    def can_retry(self) -> bool:
        """Whether another attempt may succeed, and the content is still there for it."""
        return self.retriable and self.attempts_left > 1 and isinstance(self.chunks, tuple)

    def reset(self) -> None:
        """Clear the outcome for another attempt."""
        self.attempts_left -= 1
        self.size = 0
        self.renames = 1
        self.synced = True
        self.error = None
        self.retriable = False

    def failure(self) -> BaseException:
        """Return the error of a job that has no receipt."""
        return self.error or UnknownOutcome("the delivery was interrupted")
