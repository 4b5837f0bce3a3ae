"""A durable mail queue on any mount, for any number of processes and hosts: `Queue`."""

from __future__ import annotations

from maildir_safe._handoff.rename import RESOLVE_TIMEOUT
from maildir_safe._queue.admin import QueueAdmin
from maildir_safe._queue.puts import QueuePuts
from maildir_safe._queue.store.bucket import NOW
from maildir_safe._queue.store.writer import put_job
from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Iterable, Sequence

    from maildir_safe._delivery.content import Content
    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit_async import AsyncCombiner
    from maildir_safe._queue.claim import Claim
    from maildir_safe._queue.consumer import Consumer
    from maildir_safe._queue.store.lease import Lease

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Queue(QueuePuts, QueueAdmin):
    """A spool directory that any number of processes and hosts put into and claim from.

    An accepted message is never lost. It is delivered exactly once into a Maildir on the same file system,
    and at least once by copy or by SMTP (ARCHITECTURE.md, "The queue"). Thread-safe. A process that forks
    must create a new `Queue` in the child.

    Args:
        path: the spool.
        create: create the spool if nothing is there; the directory above it must exist.
        lease: seconds after which a stalled worker loses its items; at least three times the mount's
            visibility delay (as a probe has measured and stored it, else 90 on NFS and 60 on sshfs).
            None: 10, or that time if it is more, and 300 on a type of mount of which nothing is known.
        shared: False: claim only what this host has put. Needed on mounts where two hosts may both win
            a rename (Coda, s3fs).
        heartbeat: renew the lease from a thread. False: the caller must call `tend` often enough.
        require: refuse puts that would be less durable than this level; see
            `maildir_safe._delivery.receipt.DURABILITY_LEVELS`.
        resolve_timeout: seconds to wait for caches and servers before an outcome counts as unknown.
        fs: the file system's calls; by default the system's, for root with the rights of the spool's owner.

    Attributes:
        path: the spool's absolute path.
        fs: the file system's calls.

    Raises:
        TemporaryError: it is not a spool, or cannot be created, or a user could redirect root, or hosts
            cannot share a spool on this mount (by its type, or by a stored probe result).
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
        self._heartbeat = heartbeat
        self._stop: threading.Event | None = None
        self._async: AsyncCombiner | None = None
        super().__init__(
            path,
            create,
            lease=lease,
            shared=shared,
            require=require,
            resolve_timeout=resolve_timeout,
            fs=fs,
        )

    # Putting

    def put(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
        delivery_id: str | None = None,
        dsn: Dsn | None = None,
    ) -> str:
        """Put a message into the queue. When this returns, the queue has it, complete and durable.

        Args:
            message: bytes, str, an `email.message.Message`, or a binary stream (constant memory).
            sender: envelope sender; ``""`` for the null sender of bounces.
            recipients: 1 to 50 envelope recipients, who become one item. To make several items, such as one
                per domain, use `maildir_safe._queue.store.envelope.groups`.
            not_before: seconds since 1970 before which the item is not claimed.
            delivery_id: attempts with the same id yield one item, even if the first has been delivered in
                the meantime, or is still under way: then it is stopped. The search for an earlier attempt
                costs some fsyncs. An id is remembered for a week, and must not be used for another message
                or other recipients.
            dsn: the reports that the sender asks for; see `maildir_safe._delivery.dsn.Dsn`.

        Returns:
            The item's id; that of the earlier attempt if there was one.

        Raises:
            TemporaryError: the message was not accepted, and nothing of it is left. Retry later.
            UnknownOutcome: the message may have been accepted, perhaps by another attempt with the same
                `delivery_id`, which has stopped this one. Putting it again cannot lose it.
            PermanentError: an address would break the envelope.
            ValueError, TypeError: there are no recipients or too many, the delivery id is empty, or the
                message is not a message.
        """
        if delivery_id is not None:
            return self._put_once(delivery_id, message, sender, recipients, not_before, dsn)
        return self._put(put_job(message, sender, recipients, not_before, dsn), not_before)

    def _put_once(
        self,
        delivery_id: str,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        not_before: float | None,
        dsn: Dsn | None,
    ) -> str:
        from maildir_safe._queue.store.delivery_ids import key_of

        key = key_of(delivery_id)
        job = put_job(message, sender, recipients, not_before, dsn)
        while True:
            self._reopen_if_remounted()
            opened = self._opened
            ids = opened.delivery_log.ids
            job.hashed_id = opened.writer.id_with_key(key)
            earlier = ids.begin(key, job.hashed_id, opened.stop_other_try, self._item_put_with)
            if earlier is not None:
                return earlier
            try:
                ident = self._put(job, not_before)
            except TemporaryError:
                if not job.can_retry:
                    raise
                job.reset()
            else:
                ids.finish(key, ident)
                return ident

    def put_many(
        self,
        messages: Iterable[tuple[Content, str, Sequence[str]]],
        *,
        not_before: float | None = None,
        dsn: Dsn | None = None,
    ) -> list[str]:
        """Put messages into the queue with few fsyncs: several times faster than one by one.

        Args:
            messages: tuples of message, sender and recipients, as for `put`.
            not_before, dsn: as for `put`, for all messages.

        Returns:
            One item id per message, in order; all are durable.

        Raises:
            PartialPut: some messages were refused. Its `results` tell which; the others are in the queue.
        """
        return super().put_many(messages, not_before=not_before, dsn=dsn)

    async def put_async(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
        delivery_id: str | None = None,
        dsn: Dsn | None = None,
    ) -> str:
        """`put` for asyncio: same arguments, result and errors. Concurrent calls share their fsyncs.

        Cancelling the caller does not stop the put; its outcome is then unknown to the caller. Messages with
        `not_before` or a delivery id, and streams, are put by `put` in a thread.
        """
        import asyncio

        if not_before is not None or delivery_id is not None or hasattr(message, "read"):
            return await asyncio.to_thread(
                self.put, message, sender, recipients, not_before=not_before, delivery_id=delivery_id, dsn=dsn
            )
        job = put_job(message, sender, recipients, None, dsn)
        await self._async_combiner().run(job)
        if job.commit_record is None:
            raise job.failure()
        return job.unique

    @property
    def durability(self) -> str:
        """The durability of puts on this mount: one of `maildir_safe._delivery.receipt.DURABILITY_LEVELS`."""
        return self._opened.writer.target(NOW).durability

    # Claiming

    def claim(self, limit: int = 1, wait: float | None = None, *, bounces: bool = False) -> list[Claim]:
        """Claim items that are due. No other worker gets them while this worker renews its lease.

        Args:
            limit: most items to claim; a worker never holds more than 2,000.
            wait: seconds to wait for the first item; None: do not wait.
            bounces: also claim items that are owed to no recipient but whose bounce is due, as
                `maildir_safe._queue.worker.Worker` does.

        Returns:
            The claims; none if nothing is due. End each claim with one of its methods. The item of a claim
            that is garbage-collected returns to the queue.

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
        """`Claim.ack` for several claims, which share one fsync.

        Raises:
            LeaseLost, TemporaryError: as `Claim.ack` does, for the first claim that fails. The items before
            it are removed; those after it are still held.
        """
        leases: set[Lease] = set()
        try:
            for claim in claims:
                claim._ack_later()
                leases.add(claim._lease)
        finally:
            for lease in leases:
                lease.fsync_removals("several items")

    def tend(self) -> None:
        """Renew the lease, return stray items, watch other workers and sweep those that are fenced.

        Stray items are in this worker's directory without a claim, because their rename was executed late.
        Cheap when nothing is due. `claim` calls it now and then, and so does the heartbeat's thread.

        Raises:
            TemporaryError: the storage does not answer.
        """
        self._consumer_now().tend()

    def sweep(self, worker: str) -> int:
        """Return the items of a worker that is certainly dead to the queue, and their number to the caller.

        For `maildir-safe fsck`; `tend` does the same for workers that it has seen to be dead.

        Raises:
            OSError, TemporaryError: not finished; call again.
        """
        return self._opened.consumer.sweeper.sweep(worker)

    def close(self) -> None:
        """Return items that are still claimed to the queue at once. Optional before a process ends."""
        with self._opening:
            stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
        self._opened.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    # Inside

    def _consumer_now(self) -> Consumer:
        if self.fs.monotonic() >= self._check_at:
            self._reopen_if_remounted()
        return self._opened.consumer

    def _start_heartbeat(self) -> None:
        if self._heartbeat and self._stop is None:
            from maildir_safe._queue.heartbeat import start_heartbeat

            self._stop = start_heartbeat(self, self._opened.lease_seconds)

    def _async_combiner(self) -> AsyncCombiner:
        if self._async is None:
            from maildir_safe._handoff.group_commit_async import AsyncCombiner

            self._async = AsyncCombiner(self._put_jobs)
        return self._async
