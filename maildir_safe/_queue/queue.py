"""A durable mail queue on any mount, for any number of processes and hosts: `Queue`."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING

from maildir_safe._delivery.content import chunks
from maildir_safe._delivery.partial import PartialPut
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.rename import RESOLVE_TIMEOUT
from maildir_safe._names import host_token
from maildir_safe._queue.admin import QueueAdmin
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.consumer import BEATS, Consumer
from maildir_safe._queue.heartbeat import start_heartbeat
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.bucket import NOW, period
from maildir_safe._queue.store.delivery_ids import key_in, key_of
from maildir_safe._queue.store.delivery_log import DeliveryLog
from maildir_safe._queue.store.item import ItemIds
from maildir_safe._queue.store.layout import Layout
from maildir_safe._queue.store.mount_rules import LEASE, MountRules
from maildir_safe._queue.store.spool import Spool
from maildir_safe._queue.store.states import OWED
from maildir_safe._queue.store.writer import PutJob, SpoolWriter
from maildir_safe.errors import TemporaryError, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maildir_safe._delivery.content import Content
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit_async import AsyncCombiner

log = logging.getLogger("maildir_safe.queue")

_CHECKED_EVERY = 3.0  # seconds for which the path is taken to lead where it led
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Queue(QueueAdmin):
    """A spool directory that any number of processes and hosts put into and claim from.

    No message that was accepted is lost. Into a Maildir on the same file system each is delivered
    exactly once; by copy or by SMTP at least once (ARCHITECTURE.md, "The queue"). Thread-safe. A
    process that forks makes a new one in the child.

    Args:
        path: the spool.
        create: make it if nothing is there; the directory above it must exist.
        lease: seconds after which a worker that stands still loses what it holds; three times as
            long at least as the mount hides what other hosts do: as a probe has measured and stored
            it for the mount, else 90 on NFS, 60 on sshfs. None: 300, or more if need be.
        shared: False: claim only what this host has put, as mounts need on which two hosts may
            both win a rename (Coda, s3fs).
        heartbeat: renew the lease from a thread. False: the caller calls `tend` often enough.
        require: refuse puts that would be less durable than this level; see
            `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
        resolve_timeout: seconds to wait for caches and servers before an outcome is called unknown.
        fs: the file system's calls; `maildir_safe.testing` has simulated ones.

    Attributes:
        path: the spool, absolute.
        fs: the same as the argument.

    Raises:
        TemporaryError: it is not a spool, cannot be made, or hosts cannot share it on this mount,
            as its type is known for or a probe has stored.
        ValueError: the lease is too short for this mount.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        create: bool = True,
        *,
        lease: int | None = None,
        shared: bool = True,
        heartbeat: bool = True,
        require: str | None = None,
        resolve_timeout: float = RESOLVE_TIMEOUT,
        fs: FileSystem | None = None,
    ) -> None:
        self.path = os.path.abspath(path)  # it is looked up again, perhaps after a chdir
        self.fs = fs or OsFileSystem()
        self._resolve_timeout = resolve_timeout
        self._heartbeat = heartbeat
        self._stop: threading.Event | None = None
        self._async: AsyncCombiner | None = None
        self._require, self._shared, self._lease_asked_for = require, shared, lease
        self._opening = threading.Lock()
        self._open(create)

    # Putting

    def put(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
        delivery_id: str | None = None,
    ) -> str:
        """Put a message in; when this returns, the queue has it, complete and durable.

        Args:
            message: bytes, str, an `email.message.Message`, or a binary stream (constant memory).
            sender: envelope sender; ``""`` for the null sender of bounces.
            recipients: 1 to 50 envelope recipients, who become one item. Several items, one a
                domain for instance, are what `maildir_safe._queue.store.envelope.groups` is for.
            not_before: seconds since 1970 before which it is not to be claimed.
            delivery_id: makes tries one after the other one item, also when the first has been delivered
                meanwhile: an earlier one is looked for first, which costs some fsyncs. An id is remembered
                for a week, and must not be used for another message or other recipients.

        Returns:
            The item's id; of the earlier try if there was one.

        Raises:
            TemporaryError: not taken, and nothing is left of it; try again later.
            UnknownOutcome: perhaps taken; putting it again is safe against loss.
            PermanentError: an address that would break the envelope.
            ValueError, TypeError: no recipient or too many, an empty delivery id; a message that is none.
        """
        key = "" if delivery_id is None else key_of(delivery_id)
        writer = self._writer_now()
        job = _put_job(message, sender, recipients, int(not_before or 0))
        ids = self._delivery_log.ids
        if key:
            job.hashed_id = key
            earlier = ids.begin(key, self._put_with)
            if earlier is not None:
                return earlier
        try:
            writer.put(job, self._period(not_before))
        except TemporaryError:
            self._check_at = 0.0  # the path may lead elsewhere now
            raise
        self._acknowledge(writer, [job])
        job.result()
        if key:
            ids.finish(key, job.unique)
        return job.unique

    def put_many(
        self,
        messages: Iterable[tuple[Content, str, Sequence[str]]],
        *,
        not_before: float | None = None,
    ) -> list[str]:
        """Put messages in with few fsyncs: several times faster than one by one.

        Args:
            messages: for each its message, sender and recipients, as for `put`.

        Returns:
            An item id for each, in order; all are durable.

        Raises:
            PartialPut: some were refused; its `results` tell which, the others are in the queue.
        """
        due = int(not_before or 0)
        jobs = [_put_job(message, sender, recipients, due) for message, sender, recipients in messages]
        if not self._put_jobs(jobs, self._period(not_before)):
            raise PartialPut([one.unique if one.commit_record else one.failure() for one in jobs])
        return [job.unique for job in jobs]

    async def put_async(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
        delivery_id: str | None = None,
    ) -> str:
        """`put` for asyncio: same arguments, result and errors; many at once share their fsyncs.

        A caller that is cancelled does not stop the put: its outcome is then unknown to it. Items
        for later or with a delivery id, and streams, are put by `put`, in a thread.
        """
        import asyncio

        if not_before is not None or delivery_id is not None or hasattr(message, "read"):
            return await asyncio.to_thread(
                self.put, message, sender, recipients, not_before=not_before, delivery_id=delivery_id
            )
        job = _put_job(message, sender, recipients, 0)
        await self._async_combiner().run(job)
        job.result()
        return job.unique

    @property
    def durability(self) -> str:
        """What a put promises on this mount: one of `maildir_safe._delivery.receipt.DURABILITY_LEVELS`."""
        return self._writer.target(NOW).durability

    # Claiming

    def claim(self, limit: int = 1, wait: float | None = None, *, bounces: bool = False) -> list[Claim]:
        """Take items that are due; nobody else gets them while this worker renews its lease.

        Args:
            limit: most items to take; a worker never holds more than 2,000.
            wait: seconds to wait for the first; None: do not wait.
            bounces: also items that are owed to nobody any more but whose sender must be told of a
                failure, as `maildir_safe._queue.worker.Worker` does.

        Returns:
            Claims, none if nothing is due. Each ends with one of its methods; a claim that nobody
            refers to any more returns to the queue.

        Raises:
            TemporaryError: the storage does not answer, and nothing was claimed.
        """
        claims = self._consumer_now().claim(limit, bounces)
        if wait and not claims:
            until, pause = self.fs.monotonic() + wait, _FIRST_PAUSE
            while not claims and (left := until - self.fs.monotonic()) > 0:
                self.fs.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
                claims = self._consumer_now().claim(limit, bounces)
        return claims

    def ack_many(self, claims: Iterable[Claim]) -> None:
        """`Claim.ack` for several, which share one fsync.

        Raises:
            LeaseLost, TemporaryError: as `Claim.ack` does, for the first that failed; those before
            it are removed, those after it are still held.
        """
        removed: list[Claim] = []
        try:
            for claim in claims:
                claim._ack_later()
                removed.append(claim)
        finally:
            for lease in {claim._lease for claim in removed}:
                lease.fsync_removals(f"{len(removed)} items")

    def tend(self) -> None:
        """Renew the lease, give back what was claimed without knowing, watch others, sweep the fenced.

        Cheap when nothing is due. `claim` calls it now and then, and so does the heartbeat's thread.

        Raises:
            TemporaryError: the storage does not answer.
        """
        self._consumer_now().tend()

    def sweep(self, worker: str) -> int:
        """Return what a worker held that is surely dead; how many items that were.

        For `maildir-safe fsck`: `tend` does it for workers that were seen to be dead.

        Raises:
            OSError, TemporaryError: not finished; call again.
        """
        return self._consumer.sweeper.sweep(worker)

    def close(self) -> None:
        """Leave: what is still claimed returns to the queue at once. A process that ends need not."""
        with self._opening:
            stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
        self._consumer.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    # Inside: everything that belongs to the directories as they are open now

    def _check_mount(self) -> None:
        MountRules.for_new(self.fs, self.path).shared_lease(self._lease_asked_for)

    def _open(self, create: bool) -> None:
        fs = self.fs
        if create and self._shared:
            self._check_mount()  # a refused queue leaves no directory behind
        layout = Layout(fs, self.path, create)
        host = host_token(os.uname().nodename)
        lease = self._lease_asked_for
        self._lease_seconds = layout.rules.shared_lease(lease) if self._shared else lease or LEASE
        shard = f"{host}-{fs.random(4).hex()}"
        self._layout = layout
        self._writer = SpoolWriter(fs, layout, shard, ItemIds(fs, host), self._require, self._resolve_timeout)
        self._spool = Spool(fs, layout, self._writer, self._resolve_timeout)
        self._delivery_log = DeliveryLog(fs, layout)
        self._consumer = Consumer(
            fs,
            layout,
            self._spool,
            self._writer,
            self._delivery_log,
            host=host,
            alone=not self._shared,
            lease_seconds=self._lease_seconds,
            resolve_timeout=self._resolve_timeout,
            before_registering=self._start_heartbeat,
        )
        self._check_at = fs.monotonic() + _CHECKED_EVERY

    def _reopen_if_remounted(self) -> None:
        """Open the spool anew if its path leads elsewhere: whoever goes on puts mail where nobody looks.

        Raises:
            TemporaryError: it leads nowhere now, or nobody can tell.
        """
        if self.fs.monotonic() < self._check_at:
            return
        with self._opening:
            if self.fs.monotonic() < self._check_at:
                return
            if self._layout.is_detached():
                log.warning("%s was mounted anew or replaced: opening it again", self.path)
                self._consumer.abandon()
                self._open(create=False)
            self._check_at = self.fs.monotonic() + _CHECKED_EVERY

    def _writer_now(self) -> SpoolWriter:
        self._reopen_if_remounted()
        return self._writer

    def _consumer_now(self) -> Consumer:
        self._reopen_if_remounted()
        return self._consumer

    def _put_jobs(self, jobs: Sequence[PutJob], period: str = NOW) -> bool:
        """Put jobs and make sure of where they are; whether all are in the queue."""
        try:
            writer = self._writer_now()
        except TemporaryError as error:
            for job in jobs:
                job.error = error
            return False
        good = writer.put_many([*jobs], period)
        if not good:
            self._check_at = 0.0
        return self._acknowledge(writer, jobs) and good

    def _acknowledge(self, writer: SpoolWriter, jobs: Sequence[PutJob]) -> bool:
        """Whether what was just put is where the path leads; if it took long, that is looked at once more."""
        try:
            if self._writer_now() is writer:
                return True
            error = UnknownOutcome(f"{self.path} was mounted anew or replaced while this was put into it")
        except TemporaryError as failure:
            error = UnknownOutcome(f"{failure}; it was put there all the same, perhaps where nobody looks")
        for job in jobs:
            if job.commit_record is not None:
                job.commit_record, job.error = None, error
        return False

    def _put_with(self, key: str) -> str | None:
        """The id of the item that was put with this key, and which is durable then."""
        for entry in self.items():
            if key_in(entry.item) == key:
                self._make_durable(entry)
                return entry.item.id
        return None

    def _start_heartbeat(self) -> None:
        if self._heartbeat and self._stop is None:
            self._stop = start_heartbeat(weakref.ref(self), self._lease_seconds / BEATS)

    def _async_combiner(self) -> AsyncCombiner:
        if self._async is None:
            from maildir_safe._handoff.group_commit_async import AsyncCombiner

            self._async = AsyncCombiner(self._put_jobs)
        return self._async

    def _period(self, not_before: float | None) -> str:
        return NOW if not_before is None else period(int(not_before), self.fs.time_ns() / 1e9)


def _put_job(message: Content, sender: str, recipients: Sequence[str], not_before: int) -> PutJob:
    return PutJob(chunks(message, envelope.head(sender, recipients)), OWED * len(recipients), not_before)
