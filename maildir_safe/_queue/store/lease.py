"""A worker's lease: its directory in claimed/, its heartbeat in alive/, and its deadline.

No two hosts' clocks are compared. Every third of a lease the worker renews by one rename, alive/<W>.<n> to
alive/<W>.<n+1>. A host that has seen <W>.<n> unchanged for a whole lease, on its own clock, renames it to
fenced/<W>. Both renames have the same source, so only one of them succeeds. If a renewal finds the
heartbeat gone, the worker is fenced for good. Only listings of alive/ prove that it is gone; a single
reply of a server does not.

The worker's own deadline is two thirds of a lease, counted from before the renewal was first sent. So no
other host can have fenced it before its deadline, whatever its clock shows.
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

_LOOKS = (0.0, 0.1, 1.0, 5.0)  # seconds before each check of a heartbeat that is reported gone
_MOST_REMOVED = 20_000


def heartbeat(worker: str, n: int) -> str:
    """The name in alive/ of a worker's n-th heartbeat."""
    return f"{worker}.{n}"


def lease_seconds(worker: str) -> float:
    """The length of a worker's lease, which is part of its id so that every observer knows it."""
    return float(worker.rpartition("-")[2])


def is_worker(name: str) -> bool:
    """Whether a name has the form of a worker's id."""
    return name.rpartition("-")[2].isdecimal()


def host_of(worker: str) -> str:
    """The host in a worker's id: ``mx1`` in ``mx1-00c0ffee00c0ffee-300``."""
    return worker.rsplit("-", 2)[0]


class Lease:
    """One incarnation of a worker, registered on creation. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        host: this host's name, as used in ids.
        seconds: the length of the lease; at least three times the mount's visibility delay.
        resolve_timeout: see `maildir_safe._handoff.rename.Handoff`.

    Attributes:
        worker: the worker's id; random, never used again.
        dir_fd: the descriptor of claimed/<W>.
        sync: the shared fsync of claimed/<W>.
        held: the names in claimed/<W> that have a claim (`add_held`); all others are returned.
        recently_removed: the names that have left claimed/<W> since its last listing. If a listing still
            shows one, it is a second link to a file that was moved (GlusterFS's healing makes such links).
        pending_outcomes: outcomes that could not be recorded yet, by name; see `record_pending_outcomes`.
        lost: whether this worker is fenced, for good.

    Raises:
        TemporaryError: the worker cannot be registered.
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
        """Create the directory and the heartbeat. Both are durable before anything is claimed."""
        fs, claimed, alive = self._fs, self._layout.fd["claimed"], self._layout.fd["alive"]
        self.dir_fd = make_directory(fs, self.worker, claimed)
        self._layout.sync["claimed"].sync()
        sent = fs.boottime()
        try:
            fd = fs.create(heartbeat(self.worker, 0), alive)
        except FileExistsError:
            fd = -1  # created, but the reply was lost; its content only speeds things up
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
        """Add the items to `held` that no other thread has added, and return those, by name.

        Call it before a name can appear in claimed/<W>, so that a concurrent renewal does not return the
        item. Undo it with `forget`, or with ``held.discard`` if the next renewal shall return the item.
        """
        with self._answering:
            held = self.held
            if len(self.recently_removed) > _MOST_REMOVED:
                self.recently_removed.clear()
            mine = {item.name: item for item in items if item.name not in held}
            try:
                held.update(mine)
            except BaseException:  # Ctrl-C: no claim would exist for them
                held.difference_update(mine)
                raise
        return mine

    def forget(self, name: str) -> None:
        """Forget an item that has left claimed/<W>."""
        self.recently_removed.add(name)
        self.held.discard(name)

    def record_pending_outcomes(self) -> None:
        """Record outcomes that could not be recorded when they became known.

        Raises:
            TemporaryError: the storage still does not answer; the next call goes on with the rest.
        """
        for name, record in list(self.pending_outcomes.items()):
            try:
                record()
            except LeaseLost:
                pass  # the item returns to the queue, and nothing can be done about it
            self.pending_outcomes.pop(name, None)

    def keep(self) -> bool:
        """Renew if a third of the lease is over; return whether it was renewed. Raises as `renew`."""
        if not self.lost and self._fs.boottime() < self.renew_at:
            return False
        self.renew()
        return True

    def confirm(self) -> None:
        """Return only while no other worker can have this worker's items. Raises as `renew`.

        Call it before a step that cannot be undone, such as sending a message.
        """
        if self.lost or self._fs.boottime() >= self.deadline:
            self.renew()

    def renew(self) -> None:
        """Renew now.

        Raises:
            LeaseLost: this worker was fenced, and its items belong to other workers now.
            UnknownOutcome: the storage does not answer. Call again.
        """
        with self._lock:
            if self.lost:
                raise LeaseLost(f"worker {self.worker} was fenced")
            if self._sent is None:  # the lease counts from the first request for this n
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
        """Whether two listings of alive/ show the heartbeat; a single listing may omit a name.

        Raises UnknownOutcome: alive/ cannot be listed.
        """
        try:
            alive = self._layout.fd["alive"]
            return any(not {*heartbeats}.isdisjoint(self._fs.listdir(alive)) for _ in range(2))
        except OSError as error:
            raise UnknownOutcome(f"renew the lease of worker {self.worker}: {error}") from error

    def fsync_removals(self, what: str) -> None:
        """Make the removals from claimed/<W> durable. Raises UnknownOutcome; `what` is for its text."""
        try:
            self.sync.sync()
        except OSError as error:
            raise UnknownOutcome(
                str(storage_error(f"fsync claimed/{self.worker} for {what}", error))
            ) from error

    def give_up(self) -> None:
        """Fence this worker itself, before it leaves: `renew` fails from now on, and its items are swept."""
        with self._lock:
            self.lost = True
            alive, fenced = self._layout.fd["alive"], self._layout.fd["fenced"]
            self._handoff.claim(alive, heartbeat(self.worker, self._n), fenced, self.worker)
