"""A durable mail queue on any mount, for any number of processes and hosts: `Queue`."""

from __future__ import annotations

import logging
import os
import threading
import weakref

from maildir_safe._delivery.content import chunks
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.rename import RESOLVE_TIMEOUT
from maildir_safe._names import host_token
from maildir_safe._queue.admin import QueueAdmin, QueueEntry
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.bucket import NOW, period
from maildir_safe._queue.store.delivery_log import DeliveryLog
from maildir_safe._queue.store.item import OWED, ItemIds
from maildir_safe._queue.store.layout import LEASE, Layout
from maildir_safe._queue.store.lease import Lease
from maildir_safe._queue.store.lease_monitor import LeaseMonitor
from maildir_safe._queue.store.scanner import Scanner
from maildir_safe._queue.store.spool import Spool
from maildir_safe._queue.store.writer import PutJob, SpoolWriter
from maildir_safe.errors import LeaseLost, TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from maildir_safe._delivery.content import Content
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit_async import AsyncCombiner
    from maildir_safe._queue.store.envelope import Envelope
    from maildir_safe._queue.store.scanner import Group

__all__ = ["Claim", "PartialPut", "Queue", "QueueEntry"]

log = logging.getLogger("maildir_safe.queue")

MOST_HELD = 2000
"""Items that one worker claims at a time: its directory must not grow too long either."""

_BEATS = 12  # looks at what is due, a lease
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class PartialPut(TemporaryError):
    """Some messages of a `Queue.put_many` were not taken; the caller still owns those.

    Attributes:
        results: for each message in order, its item id or its error.
    """

    def __init__(self, results: list[str | BaseException]) -> None:
        failed = [result for result in results if isinstance(result, BaseException)]
        super().__init__(f"{len(failed)} of {len(results)} messages were not put; the first: {failed[0]}")
        self.results = results


class Queue:
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
        self.path = os.fspath(path)
        self._fs = fs = fs or OsFileSystem()
        self._resolve_timeout = resolve_timeout
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._tending = threading.Lock()
        self._stop: threading.Event | None = None
        self._lease: Lease | None = None
        self._look_at = self._tend_at = 0.0
        self._async: AsyncCombiner | None = None
        self._layout = Layout(fs, self.path, create)
        self._lease_seconds = self._layout.shared_lease(lease) if shared else lease or LEASE
        self._host = host_token(os.uname().nodename)
        ids, shard = ItemIds(fs, self._host), f"{self._host}-{fs.random(4).hex()}"
        only = None if shared else self._host
        self._writer = SpoolWriter(fs, self._layout, shard, ids, require, resolve_timeout)
        self._spool = Spool(fs, self._layout, self._writer, resolve_timeout)
        self._delivery_log = DeliveryLog(fs, self._layout)
        start = int.from_bytes(fs.random(4), "big")
        self._scanner = Scanner(fs, self._layout, start, only, self._writer.current)
        self._lease_monitor = LeaseMonitor(fs, self._layout, only, resolve_timeout)
        self._admin = QueueAdmin(fs, self._layout, self._spool, self._delivery_log)

    # Putting

    def put(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
    ) -> str:
        """Put a message in; when this returns, the queue has it, complete and durable.

        Args:
            message: bytes, str, an `email.message.Message`, or a binary stream (constant memory).
            sender: envelope sender; ``""`` for the null sender of bounces.
            recipients: 1 to 50 envelope recipients, who become one item. Several items, one a
                domain for instance, are what `maildir_safe._queue.store.envelope.groups` is for.
            not_before: seconds since 1970 before which it is not to be claimed.

        Returns:
            The item's id.

        Raises:
            TemporaryError: not taken, and nothing is left of it; try again later.
            UnknownOutcome: perhaps taken; putting it again is safe against loss.
            PermanentError: an address that would break the envelope.
            ValueError, TypeError: no recipient or too many; a message that is none.
        """
        job = _put_job(message, sender, recipients, int(not_before or 0))
        self._writer.put(job, self._period(not_before))
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
        if not self._writer.put_many(jobs, self._period(not_before)):
            raise PartialPut([one.unique if one.commit_record else one.failure() for one in jobs])
        return [job.unique for job in jobs]

    async def put_async(
        self,
        message: Content,
        sender: str,
        recipients: Sequence[str],
        *,
        not_before: float | None = None,
    ) -> str:
        """`put` for asyncio: same arguments, result and errors; many at once share their fsyncs.

        A caller that is cancelled does not stop the put: its outcome is then unknown to it. Items
        for later and streams are put by `put`, in a thread.
        """
        import asyncio

        if not_before is not None or hasattr(message, "read"):
            return await asyncio.to_thread(self.put, message, sender, recipients, not_before=not_before)
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
            limit: most items to take; a worker never holds more than `MOST_HELD`.
            wait: seconds to wait for the first; None: do not wait.
            bounces: also items that are owed to nobody any more but whose sender must be told of a
                failure, as `maildir_safe._queue.worker.Worker` does.

        Returns:
            Claims, none if nothing is due. Each ends with one of its methods; a claim that is
            dropped returns to the queue.

        Raises:
            TemporaryError: the storage does not answer, and nothing was claimed.
        """
        claims = self._claim_now(limit, bounces)
        if wait and not claims:
            until, pause = self._fs.monotonic() + wait, _FIRST_PAUSE
            while not claims and (left := until - self._fs.monotonic()) > 0:
                self._fs.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
                claims = self._claim_now(limit, bounces)
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
                lease.synced(f"{len(removed)} items")

    def tend(self) -> None:
        """Renew the lease, give back what was claimed without knowing, watch others, sweep the fenced.

        Cheap when nothing is due. `claim` calls it now and then, and so does the heartbeat's thread.

        Raises:
            TemporaryError: the storage does not answer.
        """
        if not self._tending.acquire(blocking=False):
            return
        try:
            self._renew()
            now = self._fs.monotonic()
            if now >= self._look_at:
                self._lease_monitor.look(self._lease.worker if self._lease else "")
                for worker in filter(self._lease_monitor.minds, self._fs.listdir(self._layout.fd["fenced"])):
                    self._sweep(worker)
                    self._renew()  # sweeping may take its time
                self._look_at = now + self._lease_seconds / 3
        except OSError as error:
            raise storage_error(f"look after {self.path}", error) from error
        finally:
            self._tending.release()

    def close(self) -> None:
        """Leave: what is still claimed returns to the queue at once. A process that ends need not."""
        with self._lock:
            lease, self._lease = self._lease, None
            stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
        if lease is None:
            return
        lease.give_up()
        try:
            if lease.worker in self._fs.listdir(self._layout.fd["fenced"]):
                self._sweep(lease.worker)
        except OSError as error:
            log.warning("worker %s is left to others to sweep: %s", lease.worker, error)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Operating

    def items(self, state: str | None = None) -> Iterator[QueueEntry]:
        """Every item, or those in one state: pending, claimed, hold, failed or corrupt.

        What moves meanwhile is given once, twice or not at all. Raises TemporaryError, ValueError.
        """
        return self._admin.items(state)

    def find(self, ident: str) -> QueueEntry:
        """The item with this id, or the only one whose id begins so. Raises KeyError, TemporaryError."""
        return self._admin.find(ident)

    def envelope(self, listed: QueueEntry) -> Envelope | None:
        """An item's sender and recipients; None if it has moved or is unreadable."""
        return self._admin.envelope(listed)

    def contents(self, listed: QueueEntry) -> bytes:
        """An item's file, the envelope as headers on top. Raises TemporaryError."""
        return self._admin.contents(listed)

    def stats(self) -> dict[str, int]:
        """How many items are in each state, and ``oldest_age`` in seconds of those not finished."""
        return self._admin.stats()

    def hold(self, ident: str) -> None:
        """Pause a waiting item. Raises KeyError: no such; TemporaryError: a worker has it."""
        self._admin.hold(ident)

    def unhold(self, ident: str) -> None:
        """Let a paused item go on. Raises KeyError, TemporaryError."""
        self._admin.unhold(ident)

    def retry(self, ident: str) -> None:
        """Make a waiting, paused or failed item due now. Raises KeyError, TemporaryError."""
        self._admin.retry(ident)

    def remove(self, ident: str) -> None:
        """Remove an item for good and tell nobody. Raises KeyError, TemporaryError: a worker has it."""
        self._admin.remove(ident)

    def why(self, ident: str) -> list[dict[str, Any]]:
        """What couriers answered for an item, oldest first. Raises KeyError."""
        return self._admin.why(ident)

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    # Inside

    def _claim_now(self, limit: int, bounces: bool) -> list[Claim]:
        lease, now = self._lease, self._fs.boottime()
        if lease is None or lease.lost or now >= self._tend_at:
            self.tend()
            self._tend_at = now + self._lease_seconds / _BEATS
            lease = self._registered()  # another one, if that was fenced
        limit = min(limit, MOST_HELD - len(lease.known))
        claims: list[Claim] = []
        enough = self._scanner.rounds + 2  # the pass under way may be at its end: then one more
        try:
            while len(claims) < limit and self._scanner.rounds < enough:
                found = self._scanner.some(limit - len(claims), bounces)
                if found is not None:
                    self._take(lease, found, claims)
        except LeaseLost:
            self._forget(lease)
            return []
        except (OSError, TemporaryError) as error:
            if not claims:
                raise _temporary(f"claim from {self.path}", error) from error
        return claims

    def _take(self, lease: Lease, found: Group, claims: list[Claim]) -> None:
        """Add to `claims` those that nobody else was given first.

        Raises what it stopped at; what was not tried then is given out by the scanner once more.
        """
        mine = lease.answer_for(found.items)
        got: list[Claim] = []
        try:
            taken, untried, stopped = self._spool.claim(lease, found.bucket.dir_fd, mine)
            got = [Claim(self._fs, self._spool, self._delivery_log, lease, item) for item in taken]
        finally:
            if len(got) < len(mine):  # if such a one was taken all the same, the next renewal gives it back
                lease.known.difference_update(mine.keys() - {claim.item.name for claim in got})
        if len(got) + len(untried) < len(found.items):
            self._scanner.lost(found)
        if untried:
            self._scanner.again(found.part(untried))
        if found.ready:
            claims += got
        else:
            _file_again(got)
        if stopped is not None:
            raise stopped

    def _registered(self) -> Lease:
        with self._lock:
            if self._lease is None:
                self._lease = Lease(
                    self._fs, self._layout, self._host, self._lease_seconds, self._resolve_timeout
                )
                if self._heartbeat and self._stop is None:
                    self._stop = threading.Event()
                    _start_heartbeat(weakref.ref(self), self._stop, self._lease_seconds / _BEATS)
            return self._lease

    def _renew(self) -> None:
        lease = self._lease
        try:
            if lease is not None and lease.keep():
                self._spool.tidy(lease)
        except LeaseLost:
            self._forget(lease)

    def _sweep(self, worker: str) -> None:
        """Sweep a fenced worker as far as possible now: what is left must not stop everything else."""
        try:
            count = self._spool.sweep(worker)
        except (OSError, TemporaryError) as error:
            log.warning("worker %s is fenced, and cannot be swept yet: %s", worker, error)
        else:
            if count:
                log.warning("worker %s was fenced: %d items returned", worker, count)

    def _forget(self, lease: Lease | None) -> None:
        log.warning("LeaseLost: worker %s was fenced; going on as a new one", lease and lease.worker)
        with self._lock:
            if self._lease is lease:
                self._lease = None

    def _async_combiner(self) -> AsyncCombiner:
        if self._async is None:
            from maildir_safe._handoff.group_commit_async import AsyncCombiner

            self._async = AsyncCombiner(self._writer.put_many)
        return self._async

    def _period(self, not_before: float | None) -> str:
        return NOW if not_before is None else period(int(not_before), self._fs.time_ns() / 1e9)


def _put_job(message: Content, sender: str, recipients: Sequence[str], not_before: int) -> PutJob:
    return PutJob(chunks(message, envelope.head(sender, recipients)), OWED * len(recipients), not_before)


def _file_again(claims: list[Claim]) -> None:
    """Into a narrower bucket; if that fails, the next renewal does it."""
    try:
        for claim in claims:
            claim.release()
    finally:
        for claim in claims:
            claim._drop()


def _temporary(what: str, error: OSError | TemporaryError) -> TemporaryError:
    return error if isinstance(error, TemporaryError) else storage_error(what, error)


def _start_heartbeat(queue: weakref.ref[Queue], stop: threading.Event, seconds: float) -> None:
    """Look after a queue from a thread, until it is closed or nobody uses it any more."""

    def beat() -> None:
        while not stop.wait(seconds) and (alive := queue()) is not None:
            try:
                alive.tend()
            except TemporaryError as error:
                log.warning("%s", error)
            del alive

    threading.Thread(target=beat, name="maildir-safe-heartbeat", daemon=True).start()
