"""Putting new items into pending/, into buckets that belong to this process.

A put is a delivery (`maildir_safe._delivery.pipeline`): write all files, make them durable, rename all, one
fsync. Only the target differs: a bucket instead of new/. A bucket belongs to one writer, so that the writer
knows the number of its items without listing it.
"""

from __future__ import annotations

from _thread import allocate_lock as Lock

from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._delivery.pipeline import DeliveryPipeline
from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import make_directory
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.bucket import LIMIT, NOW, Bucket
from maildir_safe._queue.store.item import Item, suffix
from maildir_safe._queue.store.states import OWED
from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.content import Content
    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import ItemIds
    from maildir_safe._queue.store.layout import Layout

RETIRED_AFTER = 600.0
"""Seconds after which a writer leaves a bucket, so that other processes may remove it once it is empty."""

_BATCH = 256
_FRESH = 1.0  # seconds
_SUBDIR = "pending"


class PutJob(DeliveryJob):
    """An item that is being put; `put_job` makes one.

    Attributes:
        hashed_id: the item's id, if `SpoolWriter.id_with_key` has made it: others know it already.
        states: one letter per recipient.
        not_before: seconds since 1970 before which it is not attempted; 0: at once.
    """

    timed = False

    __slots__ = ("not_before", "states")

    states: str
    not_before: int

    @property
    def keeps_name(self) -> bool:
        """Whether the item's id was made before, and is announced in a mark: it is for one attempt."""
        return bool(self.hashed_id)


def put_job(
    message: Content,
    sender: str,
    recipients: Sequence[str],
    not_before: float | None = None,
    dsn: Dsn | None = None,
) -> PutJob:
    """Return a job that puts a message; the arguments and errors are those of `Queue.put`."""
    when, states = int(not_before) if not_before else 0, OWED * len(recipients)
    job = PutJob(envelope.below(sender, recipients, message, dsn), _SUBDIR, suffix(states, when))
    job.states, job.not_before = states, when
    return job


class BucketTarget:
    """An open bucket, which takes the place of a Maildir's directories in `DeliveryPipeline`.

    Attributes:
        name: the bucket's name.
        count: the number of items put into it.
        made: when it was created, on the MONOTONIC clock, in seconds.
        dir_fd: its descriptor, closed when the last reference is dropped.
    """

    def __init__(self, fs: FileSystem, layout: Layout, name: str, dir_fd: int, durable: bool) -> None:
        self._fs = fs
        self._layout = layout  # kept so that its descriptor of tmp/ stays open
        self.name = name
        self.count = 0
        self.made = fs.monotonic()
        self._fresh: list[list[PutJob]] = []
        self._noted = 0.0
        self.dir_fd = dir_fd
        self.root = layout.root
        self.tmp = layout.fd["tmp"]
        self.fstype = layout.fstype
        self.sync = {_SUBDIR: DirectorySync(fs, dir_fd, layout.fstype)}
        best = quirks(layout.fstype).durability
        self.durability = best if durable or best != "full" else "file"

    def __del__(self) -> None:
        close_quietly(self._fs, self.dir_fd)

    def note(self, puts: list[PutJob]) -> None:
        """Remember items that were put, so that this process can claim them without listing the bucket."""
        if not self._fresh:
            self._noted = self._fs.monotonic()
        self._fresh.append(puts)

    def fresh(self) -> list[Item]:
        """The items noted since the last call; none if other workers have had time to claim the first."""
        fresh, self._fresh = self._fresh, []
        if self._fs.monotonic() - self._noted >= _FRESH:
            return []
        return [
            Item(put.unique, put.size, 0, 0, put.not_before, put.states, put.name)
            for puts in fresh
            for put in puts
            if put.commit_record
        ]

    def moved_on(self, name: str) -> bool:
        """Whether an item that left tmp/ was put: a worker has claimed it from the bucket, or returned it.

        One that a worker has already delivered leaves no trace, so it looks like one that somebody removed
        from tmp/. Raises OSError: a directory cannot be listed.
        """
        ident = name.partition(",")[0]
        for state in ("claimed", "pending"):
            above = self._layout.fd[state]
            for within in self._fs.listdir(above):
                try:
                    fd = self._fs.open_dir(within, above)
                except OSError:
                    continue  # a bucket or a worker that has gone
                try:
                    if any(other.partition(",")[0] == ident for other in self._fs.listdir(fd)):
                        return True
                finally:
                    close_quietly(self._fs, fd)
        return False

    def fd(self, subdir: str) -> int:  # noqa: ARG002 - there is one
        """The bucket's descriptor."""
        return self.dir_fd


class SpoolWriter:
    """Creates buckets and puts items into them. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        shard: this process's part of bucket names; unique to this process.
        ids: makes item ids.
        require: least durability of a put; see `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
        resolve_timeout: see `maildir_safe._handoff.rename.Handoff`.
    """

    def __init__(
        self,
        fs: FileSystem,
        layout: Layout,
        shard: str,
        ids: ItemIds,
        require: str | None,
        resolve_timeout: float,
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._shard = shard
        self._ids = ids
        self._require = require
        self._resolve_timeout = resolve_timeout
        self._lock = Lock()
        self._seq = 0
        self._targets: dict[str, BucketTarget] = {}
        self._now = self._pipeline(NOW)

    def id_with_key(self, key: str) -> str:
        """A new id for an item that is put with the delivery id of this key."""
        return self._ids.with_key(key)

    def put(self, job: PutJob, period: str = NOW) -> None:
        """Put one message; concurrent callers share fsyncs. Raises as `DeliveryPipeline.deliver` does.

        Args:
            period: see `maildir_safe._queue.store.bucket.period`.
        """
        target = self.target(period, 1)
        if period == NOW:
            self._now.deliver(job)
            target.note([job])
        else:
            self._pipeline(period).deliver(job)

    def put_many(self, jobs: list[PutJob], period: str = NOW) -> bool:
        """Put messages with few fsyncs, and return whether all succeeded. Each job has its own outcome."""
        delivery = self._now if period == NOW else self._pipeline(period)
        good = True
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            try:
                target = self.target(period, len(batch))
            except TemporaryError as error:
                for job in batch:
                    job.error = error
                good = False
                continue
            all_put = delivery.commit_alike(batch)
            good &= all_put
            if period == NOW:  # only what was put, since a refused job still has its message
                target.note(batch if all_put else [job for job in batch if job.commit_record])
        return good

    def target(self, period: str, count: int = 0, anew: bool = False) -> BucketTarget:
        """The open bucket of a period, created if there is none.

        Args:
            count: the number of items that are about to be put.
            anew: create a new bucket, since the last one has vanished.

        Raises:
            TemporaryError: the bucket cannot be created.
        """
        with self._lock:
            target = self._targets.get(period)
            old = target and (target.count >= LIMIT or self._fs.monotonic() - target.made > RETIRED_AFTER)
            if target is None or old or anew:
                target = self._make(period)
                self._forget_old()
                self._targets[period] = target
            target.count += count
            return target

    def _current_target(self, period: str, anew: bool) -> BucketTarget:
        """The bucket that `target` has just returned; with `anew` a new one, since that one has vanished."""
        return (None if anew else self._targets.get(period)) or self.target(period, anew=anew)

    def current(self) -> BucketTarget | None:
        """The last bucket for items that are due now; None if there was none yet."""
        return self._targets.get(NOW)

    def _make(self, period: str) -> BucketTarget:
        """Create a bucket, durable before anything in it is acknowledged."""
        name = Bucket(period, self._shard, self._seq).name
        self._seq += 1  # even if it cannot be made: no name is used twice
        pending = self._layout.fd["pending"]
        try:
            dir_fd = make_directory(self._fs, name, pending)
            try:
                durable = self._layout.sync["pending"].sync()
            except OSError:
                close_quietly(self._fs, dir_fd)
                raise
        except OSError as error:
            raise storage_error(f"make the bucket {self._layout.path}/pending/{name}", error) from error
        return BucketTarget(self._fs, self._layout, name, dir_fd, durable)

    def _forget_old(self) -> None:
        now = self._fs.monotonic()
        for period in [p for p, target in self._targets.items() if now - target.made > RETIRED_AFTER]:
            del self._targets[period]

    def _pipeline(self, period: str) -> DeliveryPipeline:
        return DeliveryPipeline(
            self._fs,
            self._layout.path,
            lambda anew: self._current_target(period, anew),
            self._ids,
            "tmp",
            self._require,
            self._resolve_timeout,
        )
