"""Watching other workers' heartbeats, and fencing those that are dead.

A worker is dead if it was *seen* with the same heartbeat for a whole lease, on the observer's own MONOTONIC
clock, or if its process is proved to have ended. A name that is missing from a listing proves nothing:
ext4 omitted entries in 1,026 of 3,194 listings of a busy directory
(docs/reference/file-systems.md, "Listings").

A directory in claimed/ may come back after its worker was fenced and swept (GlusterFS's healing does this).
It has neither a heartbeat nor a marker in fenced/, so it is swept once many looks, over ten leases,
show none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import Handoff, close_quietly
from maildir_safe._queue.store import process_identity
from maildir_safe._queue.store.lease import heartbeat, host_of, is_worker, lease_seconds

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.layout import Layout

_FORGOTTEN_AFTER = 10  # leases; a worker that was not seen for so long is no longer in alive/
_ABANDONED_AFTER = 10  # leases; a living worker renews three times in each, so some listing shows it
_LOOKS_AT_LEAST = 10  # each with two listings of alive/, however long ago the first was


class _Sighting:
    """A heartbeat, and when it was first and last seen."""

    __slots__ = ("last", "n", "process", "since")

    def __init__(self, n: int, since: float, process: bytes) -> None:
        self.n = n
        self.since = since
        self.last = since
        self.process = process


class LeaseMonitor:
    """One observer of a spool's workers. Not thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        host: watch only this host's workers; None: all workers.
        resolve_timeout: see `maildir_safe._handoff.rename.Handoff`.
    """

    def __init__(self, fs: FileSystem, layout: Layout, host: str | None, resolve_timeout: float) -> None:
        self._fs = fs
        self._layout = layout
        self._host = host
        self._handoff = Handoff(fs, resolve_timeout)
        self._seen: dict[str, _Sighting] = {}
        self._unowned: dict[str, tuple[float, int]] = {}  # since when, and in how many looks

    def look(self, myself: str) -> None:
        """Look at all heartbeats, and fence dead workers.

        Args:
            myself: the observer's own worker id.

        Raises:
            OSError: alive/ cannot be listed.
        """
        before = self._fs.monotonic()
        listed = _heartbeats(self._fs.listdir(self._layout.fd["alive"]))
        after = self._fs.monotonic()
        for worker, n in listed.items():
            if worker != myself and self.watches(worker) and self._is_dead(worker, n, before, after):
                self._fence(worker, n)
        for worker, sighting in list(self._seen.items()):
            if before - sighting.last > _FORGOTTEN_AFTER * lease_seconds(worker):
                del self._seen[worker]

    def fence_host(self, host: str) -> list[str]:
        """Fence every worker of a host that is known to be dead, and return the ids of all that are fenced.

        Args:
            host: the host's name, as used in ids.

        Raises:
            OSError: alive/ or fenced/ cannot be listed.
        """
        for worker, n in _heartbeats(self._fs.listdir(self._layout.fd["alive"])).items():
            if host_of(worker) == host:
                self._fence(worker, n)
        fenced = self._fs.listdir(self._layout.fd["fenced"])
        return sorted(worker for worker in fenced if "-" in worker and host_of(worker) == host)

    def abandoned(self, myself: str, fenced: list[str]) -> list[str]:
        """Return the workers whose directory in claimed/ nobody has had for ten of their leases.

        Such a worker cannot act: its own deadline passed long ago, and no renewal can find its heartbeat.

        Args:
            myself: the observer's own worker id.
            fenced: a listing of fenced/.

        Raises:
            OSError: a directory cannot be listed.
        """
        now = self._fs.monotonic()
        owned = {myself, *fenced, *self._seen}
        doubtful = {
            worker
            for worker in self._fs.listdir(self._layout.fd["claimed"])
            if worker not in owned and is_worker(worker) and self.watches(worker)
        }
        if doubtful:  # those in `_seen` were in the last listing, or not long ago; this is another one
            doubtful -= _heartbeats(self._fs.listdir(self._layout.fd["alive"])).keys()
        before, self._unowned = self._unowned, {}
        for worker in doubtful:
            since, looks = before.get(worker, (now, 0))
            self._unowned[worker] = since, looks + 1
        return [
            worker
            for worker, (since, looks) in self._unowned.items()
            if looks >= _LOOKS_AT_LEAST and now - since >= _ABANDONED_AFTER * lease_seconds(worker)
        ]

    def watches(self, worker: str) -> bool:
        """Whether this observer watches that worker."""
        return self._host in (None, host_of(worker))

    def _is_dead(self, worker: str, n: int, before: float, after: float) -> bool:
        """Whether a worker is dead. Measures from the end of the first look to the start of this one."""
        sighting = self._seen.get(worker)
        if sighting is None or sighting.n < n:
            process = self._process(worker, n) if sighting is None else sighting.process
            sighting = self._seen[worker] = _Sighting(n, after, process)
        sighting.last = after
        if sighting.n > n:
            return False  # an old listing
        return before - sighting.since >= lease_seconds(worker) or process_identity.is_dead(
            self._fs, sighting.process
        )

    def _process(self, worker: str, n: int) -> bytes:
        try:
            fd = self._fs.open(heartbeat(worker, n), self._layout.fd["alive"])
        except OSError:
            return b""
        try:
            return self._fs.read(fd, 4096)
        except OSError:
            return b""
        finally:
            close_quietly(self._fs, fd)

    def _fence(self, worker: str, n: int) -> None:
        """Fence a worker by one rename, which fails if the worker renews at the same moment.

        The result can be ignored: fenced/ shows which workers are fenced. A late execution succeeds only if
        the heartbeat has still not changed.
        """
        alive, fenced = self._layout.fd["alive"], self._layout.fd["fenced"]
        self._handoff.claim(alive, heartbeat(worker, n), fenced, worker)
        self._seen.pop(worker, None)


def _heartbeats(names: list[str]) -> dict[str, int]:
    """The latest heartbeat of each worker; a listing may show two while the worker renews."""
    latest: dict[str, int] = {}
    for name in names:
        worker, _, n = name.rpartition(".")
        if n.isdecimal() and is_worker(worker):
            latest[worker] = max(int(n), latest.get(worker, 0))
    return latest
