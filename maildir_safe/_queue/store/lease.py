"""A worker's lease: its directory in claimed/, its heartbeat in alive/, and until when both hold.

No clock is compared with another host's. The worker renews by one rename, alive/<W>.<n> to
alive/<W>.<n+1>, every third of a lease; another host that saw <W>.<n> unchanged for a whole lease
on its own clock renames it to fenced/<W>. Both renames want the same source, so one of them wins,
and the worker knows which: a renewal that finds its heartbeat gone means that it is fenced, for good.
"Gone" is what listings of alive/ say, never one answer of a server alone.

The worker holds itself to two thirds of a lease, counted from before the renewal was first sent:
so before its deadline nobody can have fenced it, wherever its clock stands.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import DONE, GONE, Handoff, close_quietly
from maildir_safe._handoff.small_files import make_directory, write_all
from maildir_safe._queue.store import process_identity
from maildir_safe.errors import LeaseLost, UnknownOutcome, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout

_LOOKS = (0.0, 0.1, 1.0, 5.0)  # seconds before each look at a heartbeat that is said to be gone
_MOST_REMOVED = 20_000


def heartbeat(worker: str, n: int) -> str:
    """The name in alive/ of a worker's n-th heartbeat."""
    return f"{worker}.{n}"


def lease_seconds(worker: str) -> float:
    """How long a lease this worker has: it is part of its id, so that every observer knows."""
    return float(worker.rpartition("-")[2])


def host_of(worker: str) -> str:
    """The host of a worker, by its id: ``mx1`` of ``mx1-00c0ffee00c0ffee-300``."""
    return worker.rsplit("-", 2)[0]


class Lease:
    """One incarnation of a worker, registered when made. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        host: this host's name, as ids have it.
        seconds: how long the lease is; at least three times what the mount's caches hide.
        resolve_timeout: see `maildir_safe._handoff.rename.Handoff`.

    Attributes:
        worker: its id: random, never used again.
        dir_fd: claimed/<W>.
        sync: the shared fsync of claimed/<W>.
        known: the names in claimed/<W> that somebody answers for (`add_held`); others are given back.
        finished: the names that have left claimed/<W> since it was last listed; should one be there all the
            same, it is a second name of what is elsewhere (GlusterFS's healing makes such).
        unrecorded: what could not be recorded yet, by name; see `record_pending_outcomes`.
        lost: fenced, for good.

    Raises:
        TemporaryError: it cannot be registered.
    """

    def __init__(
        self, fs: FileSystem, layout: Layout, host: str, seconds: int, resolve_timeout: float
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._seconds = seconds
        self._handoff = Handoff(fs, min(resolve_timeout, seconds / 6))
        self._lock = Lock()
        self._n = 0
        self._sent: float | None = None
        self.worker = f"{host}-{fs.random(8).hex()}-{seconds}"
        self.held: set[str] = set()
        self.recently_removed: set[str] = set()
        self.pending_outcomes: dict[str, Callable[[], None]] = {}
        self._answering = Lock()
        self.lost = False
        self.dir_fd = -1
        try:
            self._register()
        except OSError as error:
            raise storage_error(f"register worker {self.worker} in {layout.path}", error) from error
        self.sync = DirectorySync(fs, self.dir_fd, layout.fstype)

    def __del__(self) -> None:
        if self.dir_fd >= 0:
            close_quietly(self._fs, self.dir_fd)

    def _register(self) -> None:
        """The directory and the heartbeat, both durable before anything is claimed."""
        fs, claimed, alive = self._fs, self._layout.fd["claimed"], self._layout.fd["alive"]
        self.dir_fd = make_directory(fs, self.worker, claimed)
        self._layout.sync["claimed"].sync()
        sent = fs.boottime()
        try:
            fd = fs.create(heartbeat(self.worker, 0), alive)
        except FileExistsError:
            fd = -1  # made, and the reply was lost; what is in it only speeds things up
        if fd >= 0:
            try:
                write_all(fs, fd, process_identity.describe(fs))
            finally:
                fs.close(fd)
        self._layout.sync["alive"].sync()
        self._renewed(sent)

    def _renewed(self, sent: float) -> None:
        self.renew_at = sent + self._seconds / 3
        self.deadline = sent + self._seconds * 2 / 3

    def add_held(self, items: Iterable[Item]) -> dict[str, Item]:
        """Become the one who answers for items, of all threads: for those, by name, that no other does.

        To be asked before a name can be in claimed/<W>: a renewal meanwhile must not give it back.
        Ends with `ended`, or with ``held.discard`` where the item is to be given back.
        """
        with self._answering:
            held = self.held
            mine = {item.name: item for item in items if item.name not in held}
            try:
                held.update(mine)
            except BaseException:  # Ctrl-C: nobody would answer for them
                held.difference_update(mine)
                raise
        return mine

    def forget(self, name: str) -> None:
        """An item has left claimed/<W>: nobody answers for it any more."""
        if len(self.recently_removed) >= _MOST_REMOVED:
            self.recently_removed.clear()
        self.recently_removed.add(name)
        self.held.discard(name)

    def record_pending_outcomes(self) -> None:
        """Record outcomes that could not be recorded when they were held.

        Raises:
            TemporaryError: the storage still does not answer; the rest is left to the next call.
        """
        for name, record in list(self.pending_outcomes.items()):
            try:
                record()
            except LeaseLost:
                pass  # it comes back to somebody, and nothing can be done about it
            self.pending_outcomes.pop(name, None)

    def keep(self) -> bool:
        """Renew if a third of the lease is over; whether it was renewed. Raises as `renew`."""
        if not self.lost and self._fs.boottime() < self.renew_at:
            return False
        self.renew()
        return True

    def confirm(self) -> None:
        """Return only while nobody else can have this worker's items; raises as `renew`.

        Before a step that cannot be undone, such as sending a message away.
        """
        if self.lost or self._fs.boottime() >= self.deadline:
            self.renew()

    def renew(self) -> None:
        """Renew now.

        Raises:
            LeaseLost: this worker was fenced; whatever it held is someone else's now.
            UnknownOutcome: the storage does not answer; call again.
        """
        with self._lock:
            if self.lost:
                raise LeaseLost(f"worker {self.worker} was fenced")
            if self._sent is None:  # the lease counts from the first time that this n was asked for
                self._sent = self._fs.boottime()
            alive = self._layout.fd["alive"]
            now, then = heartbeat(self.worker, self._n), heartbeat(self.worker, self._n + 1)
            outcome = self._handoff.claim(alive, now, alive, then)
            for pause in _LOOKS:
                if outcome.kind != GONE:
                    break
                if not self._is_listed(now, then):
                    self.lost = True
                    raise LeaseLost(f"worker {self.worker} was fenced")
                self._fs.sleep(pause)
                outcome = self._handoff.claim(alive, now, alive, then)
            if outcome.kind != DONE:
                raise UnknownOutcome(f"renew the lease of worker {self.worker}: {outcome.error}")
            self._n += 1
            sent, self._sent = self._sent, None
            self._renewed(sent)

    def _is_listed(self, *heartbeats: str) -> bool:
        """Whether alive/ still has the heartbeat, in two listings: one may leave a name out.

        Raises UnknownOutcome: it cannot be listed.
        """
        try:
            alive = self._layout.fd["alive"]
            return any(not {*heartbeats}.isdisjoint(self._fs.listdir(alive)) for _ in range(2))
        except OSError as error:
            raise UnknownOutcome(f"renew the lease of worker {self.worker}: {error}") from error

    def fsync_removals(self, what: str) -> None:
        """Make durable what has left claimed/<W>. Raises UnknownOutcome; `what` is for its text."""
        try:
            self.sync.sync()
        except OSError as error:
            raise UnknownOutcome(
                str(storage_error(f"fsync claimed/{self.worker} for {what}", error))
            ) from error

    def give_up(self) -> None:
        """Fence oneself, before leaving: from here on `renew` fails, and what is left is swept."""
        with self._lock:
            self.lost = True
            alive, fenced = self._layout.fd["alive"], self._layout.fd["fenced"]
            self._handoff.claim(alive, heartbeat(self.worker, self._n), fenced, self.worker)
