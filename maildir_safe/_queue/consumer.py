"""One process's claims on a spool: its lease, its items, and its share of watching and sweeping others."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from maildir_safe._queue.claim import Claim
from maildir_safe._queue.heartbeat import BEATS
from maildir_safe._queue.store.lease import Lease
from maildir_safe._queue.store.lease_monitor import LeaseMonitor
from maildir_safe._queue.store.scanner import Scanner
from maildir_safe._queue.store.sweeper import Sweeper
from maildir_safe.errors import LeaseLost, TemporaryError, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.delivery_log import DeliveryLog
    from maildir_safe._queue.store.layout import Layout
    from maildir_safe._queue.store.scanner import Group
    from maildir_safe._queue.store.spool import Spool
    from maildir_safe._queue.store.writer import SpoolWriter

log = logging.getLogger("maildir_safe.queue")

MOST_HELD = 2000
"""Most items that one worker holds at a time, so that its directory stays short."""

_OBSERVED = 6  # looks at other workers' heartbeats per lease: a dead one is fenced after 8/6 of it
_MOST_TROUBLES = 3  # failed groups after which one call stops: each may take as long as a storage time-out


class Consumer:
    """Claims items. Thread-safe.

    Args:
        fs: the file system's calls.
        layout, spool, writer, delivery_log: the parts of the spool.
        host: this host's name, as used in ids.
        alone: claim only what this host has put, and watch only this host's workers.
        lease_seconds: the length of a lease.
        resolve_timeout: see `maildir_safe._handoff.rename.Handoff`.
        before_registering: called before a lease is registered.

    Attributes:
        lease: the current lease; None before the first claim, and after the lease was lost.
        scanner: finds items. monitor: watches other workers. sweeper: sweeps fenced workers.
    """

    def __init__(
        self,
        fs: FileSystem,
        layout: Layout,
        spool: Spool,
        writer: SpoolWriter,
        delivery_log: DeliveryLog,
        *,
        host: str,
        alone: bool,
        lease_seconds: int,
        resolve_timeout: float,
        before_registering: Callable[[], None],
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._spool = spool
        self._delivery_log = delivery_log
        self._host = host
        self._lease_seconds = lease_seconds
        self._resolve_timeout = resolve_timeout
        self._before_registering = before_registering
        self._lock = threading.Lock()
        self._tending = threading.Lock()
        self._look_at = self._tend_at = 0.0
        self.lease: Lease | None = None
        only = host if alone else None
        start = int.from_bytes(fs.random(4), "big")
        self.scanner = Scanner(fs, layout, start, only, writer.current, spool.quarantine)
        self.monitor = LeaseMonitor(fs, layout, only, resolve_timeout)
        self.sweeper = Sweeper(fs, layout, spool)

    def claim(self, limit: int, bounces: bool) -> list[Claim]:
        """Claim items that are due, without waiting; see `maildir_safe._queue.queue.Queue.claim`."""
        lease, now = self.lease, self._fs.boottime()
        if lease is None or lease.lost or now >= self._tend_at:
            self.tend()
            self._tend_at = now + self._lease_seconds / BEATS
            lease = self.registered()  # a new one, if the old one was fenced
        limit = min(limit, MOST_HELD - len(lease.held))
        claims: list[Claim] = []
        troubles: list[OSError | TemporaryError] = []
        enough = self.scanner.passes_done + 2  # the current pass may be at its end, so allow one more
        while len(claims) < limit and self.scanner.passes_done < enough and len(troubles) < _MOST_TROUBLES:
            try:
                found = self.scanner.next_batch(limit - len(claims), bounces)
            except OSError as error:
                troubles.append(error)
                break
            if found is None:
                continue
            try:
                self._take(lease, found, claims)
            except LeaseLost:
                self._forget(lease)
                return []
            except (OSError, TemporaryError) as error:
                troubles.append(error)
        trouble = troubles[0] if troubles else self.scanner.trouble
        if trouble is not None and not claims:
            raise _temporary(f"claim from {self._layout.path}", trouble) from trouble
        return claims

    def _take(self, lease: Lease, found: Group, claims: list[Claim]) -> None:
        """Claim the items of a group, and add those that were won to `claims`.

        Raises the error that it stopped at, after returning the untried items to the scanner.
        """
        mine = lease.add_held(found.items)
        got: list[Claim] = []
        try:
            taken, untried, stopped = self._spool.claim(lease, found.bucket.dir_fd, mine)
            fs, spool, notes, bucket = self._fs, self._spool, self._delivery_log, found.bucket.name
            for item in taken:
                got.append(Claim(fs, spool, notes, lease, bucket, item))
        finally:
            if len(got) < len(mine):  # the next renewal returns those that were claimed after all
                lease.held.difference_update(mine.keys() - {claim.item.name for claim in got})
        if len(got) + len(untried) < len(found.items):
            self.scanner.report_missing(found)
        if found.ready:
            claims += got
        else:
            _file_again(got)
        if stopped is not None:
            self.scanner.report_failure(found.part(untried), stopped)
            raise stopped

    def tend(self) -> None:
        """Renew the lease, record pending outcomes, return stray items, watch workers and sweep the fenced.

        Cheap when nothing is due.

        Raises:
            TemporaryError: the storage does not answer.
        """
        if not self._tending.acquire(blocking=False):
            return
        try:
            self._renew()
            now = self._fs.monotonic()
            if now >= self._look_at:
                myself = self.lease.worker if self.lease else ""
                self.monitor.look(myself)
                fenced = self._fs.listdir(self._layout.fd["fenced"])
                abandoned = self.monitor.abandoned(myself, fenced)
                for worker in (*filter(self.monitor.watches, fenced), *abandoned):
                    self._sweep(worker)
                    self._renew()  # sweeping may take long
                self._look_at = now + self._lease_seconds / _OBSERVED
        except OSError as error:
            raise storage_error(f"look after {self._layout.path}", error) from error
        finally:
            self._tending.release()

    def fence_host(self, host: str) -> tuple[int, int]:
        """Fence every worker of a dead host, and return what they had claimed to the queue.

        Args:
            host: the host's name, as used in ids.

        Returns:
            The number of workers, and of items that were returned.

        Raises:
            TemporaryError: the storage does not answer. The next call goes on.
        """
        try:
            workers = self.monitor.fence_host(host)
            return len(workers), sum(self.sweeper.sweep(worker) for worker in workers)
        except OSError as error:
            raise storage_error(f"fence the workers of {host}", error) from error

    def close(self) -> None:
        """Give up the lease; items that are still claimed return to the queue at once."""
        with self._lock:
            lease, self.lease = self.lease, None
        if lease is None:
            return
        try:
            lease.record_pending_outcomes()
        except TemporaryError as error:
            log.warning("outcomes cannot be recorded, and their messages will be sent again: %s", error)
        lease.give_up()
        try:
            if lease.worker in self._fs.listdir(self._layout.fd["fenced"]):
                self._sweep(lease.worker)
        except OSError as error:
            log.warning("worker %s is left for others to sweep: %s", lease.worker, error)

    def abandon(self) -> None:
        """Stop acting under this lease, because the path leads to another spool now."""
        with self._lock:
            lease, self.lease = self.lease, None
        if lease is not None:
            lease.lost = True

    def registered(self) -> Lease:
        """The lease, registered if there is none. Raises TemporaryError."""
        with self._lock:
            if self.lease is None:
                self._before_registering()
                self.lease = Lease(
                    self._fs, self._layout, self._host, self._lease_seconds, self._resolve_timeout
                )
            return self.lease

    def _renew(self) -> None:
        lease = self.lease
        if lease is None:
            return
        try:
            renewed = lease.keep()
            if lease.pending_outcomes:
                lease.record_pending_outcomes()
            if renewed:
                self._spool.tidy(lease)
        except LeaseLost:
            self._forget(lease)

    def _sweep(self, worker: str) -> None:
        """Sweep a fenced worker as far as possible; an error is only logged, and must not stop the rest."""
        try:
            count = self.sweeper.sweep(worker)
        except (OSError, TemporaryError) as error:
            log.warning("worker %s is fenced, and cannot be swept yet: %s", worker, error)
        else:
            if count:
                log.warning("worker %s was fenced: %d items returned", worker, count)

    def _forget(self, lease: Lease) -> None:
        log.warning("LeaseLost: worker %s was fenced; going on as a new one", lease.worker)
        with self._lock:
            if self.lease is lease:
                self.lease = None


def _file_again(claims: list[Claim]) -> None:
    """Move the items into narrower buckets; if that fails, the next renewal does it."""
    try:
        for claim in claims:
            claim.move_on()
    finally:
        for claim in claims:
            claim.let_go()


def _temporary(what: str, error: OSError | TemporaryError) -> TemporaryError:
    return error if isinstance(error, TemporaryError) else storage_error(what, error)
