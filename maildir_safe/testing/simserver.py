"""The server of the simulated file system: the files, the time, and all other state shared by hosts."""

from __future__ import annotations

import heapq
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maildir_safe.testing.simcrash import Choice, Mode
from maildir_safe.testing.simdisk import ROOT, Disk
from maildir_safe.testing.simfaults import PROFILES, Profile

if TYPE_CHECKING:
    from maildir_safe.testing.simclient import SimClient

EPOCH = 1_700_000_000
"""The wall clock, in seconds since 1970, when the simulation starts."""

CALL_SECONDS = 0.001
"""Simulated time that every file call takes."""


class HostDied(BaseException):
    """Raised in code that makes calls after its host has crashed; deliberately not an `Exception`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One file call in the history."""

    at: float
    host: str
    kind: str
    names: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.at:9.3f}  {self.host}  {self.kind} {self.names}  = {self.outcome}"


class Turns(Protocol):
    """Decides at each file call which host continues (`simsched`)."""

    def turn(self, host: SimClient) -> None:
        """Return when it is this host's turn."""

    def sleep(self, host: SimClient, until: float) -> None:
        """Return when it is this host's turn and the time has come."""


class SimServer:
    """The files, the time, and all other state shared by hosts.

    Args:
        profile: a name in `PROFILES`, or a `Profile` of your own.
        mode: what a crash may keep: ``ordered``, ``atomic`` or ``weak``.
        disk: start from these files (default: an empty root directory).

    Attributes:
        now: simulated seconds since the start.
        history: every file call of every host, in order.
        after_call: called with each `Call` once it has returned; for exploring crashes.
        turns: decides which host continues at each call, if several hosts run at once.
        conflicts: what could not be reintegrated, in words.
    """

    def __init__(
        self, profile: str | Profile = "local", mode: Mode = "atomic", disk: Disk | None = None
    ) -> None:
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        self.disk = disk or Disk(mode, self.profile.fold, now=EPOCH * 10**9)
        self.now = 0.0
        self.version = 0
        self.history: list[Call] = []
        self.hosts: list[SimClient] = []
        self.conflicts: list[str] = []
        self.after_call: Callable[[Call], None] | None = None
        self.turns: Turns | None = None
        self._late: list[tuple[float, int, Callable[[Disk], object]]] = []
        self._inodes = max(self.disk.nodes)
        self._down = False
        self._unresolved: dict[int, set[int]] = {}

    def new_ino(self) -> int:
        """Return an inode number that was never used."""
        self._inodes += 1
        return self._inodes

    # -- time -----------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass: late requests are executed, logs are reintegrated."""
        end = self.now + seconds
        while self._late and self._late[0][0] <= end:
            self.now, _, late = heapq.heappop(self._late)
            self.apply(late)
        self.now = end
        for host in self.hosts:
            host.reintegrate(end)

    def at(self, when: float, act: Callable[[Disk], object]) -> None:
        """Execute `act` on the files at a simulated time; what it raises is dropped."""
        self.version += 1
        heapq.heappush(self._late, (when, self.version, act))

    def settle(self) -> None:
        """End every partition and wait until no request is in progress."""
        for host in self.hosts:
            host.partitioned = False
        self.advance(3600.0)

    def apply(self, act: Callable[[Disk], object]) -> None:
        """Execute a request whose sender no longer waits for the answer."""
        self.version += 1
        self.disk.now = int((EPOCH + self.now) * 1e9)
        try:
            act(self.disk)
        except OSError:
            pass

    # -- crash ----------------------------------------------------------------------------

    def crashed(self, choice: Choice) -> SimServer:
        """Return a new server with the files after a crash now; this server continues."""
        disk = self.disk.copy()
        disk.crash(choice)
        found = SimServer(self.profile, disk=disk)
        found.now = self.now + 60.0
        found.history = [*self.history, Call(self.now, "-", "CRASH", "", f"kept {sorted(choice.kept)}")]
        return found

    def crash(self, choice: Choice) -> None:
        """Crash this server in place; all its hosts die, and requests in progress are lost."""
        self.disk.crash(choice)
        for host in self.hosts:
            host.dead = True
        self.hosts.clear()
        self._late.clear()
        self.version += 1
        self.now += 60.0
        self.history.append(Call(self.now, "-", "CRASH", "", f"kept {sorted(choice.kept)}"))

    # -- a replica that was down (Coda) ---------------------------------------------------

    def replica_down(self) -> None:
        """Stop one of the servers; clients notice nothing."""
        self._down = self.profile.replicated

    def replica_up(self) -> None:
        """Start the stopped server; changed directories are resolved on their next use."""
        self._down = False

    def renamed(self, src_dir: int, dst_dir: int) -> None:
        """Record which directories a rename tied together while a replica was down."""
        if self._down and src_dir != dst_dir:
            self._unresolved.setdefault(src_dir, set())
            self._unresolved.setdefault(dst_dir, set()).add(src_dir)

    def looked_at(self, ino: int) -> None:
        """Resolve a directory, or put it and its partners in conflict."""
        if self._down or ino not in self._unresolved:
            return
        partners = {src for src in self._unresolved.pop(ino) if src in self._unresolved}
        for directory in (partners | {ino}) if partners else ():
            self._unresolved.pop(directory, None)
            self._to_conflict(directory)

    def _to_conflict(self, ino: int) -> None:
        self.version += 1
        for parent in list(self.disk.nodes.values()):
            for name in [name for name, child in parent.entries.items() if child == ino]:
                self.disk.detach(parent.ino, name)
                link = self.disk.create(parent.ino, name, self.new_ino(), stat.S_IFLNK)
                link.data = link.disk_data = f"@7f000001.{ino:x}.1@example.org.".encode()
                self.conflicts.append(f"{name} is a conflict")

    # -- a mount that is unmounted or remade ----------------------------------------------

    def remount(self, path: str, *, empty: bool = False) -> None:
        """Make `path` lead to another file system object from now on.

        Descriptors that are open go on to the one that is detached, which works as before and which
        nobody else sees any more: so it is after ``umount -l``.

        Args:
            path: an absolute path of a directory.
            empty: it leads to an empty directory (the mount point); else to a copy of all files.
        """
        *parents, name = path.strip("/").split("/")
        above = ROOT
        for part in parents:
            above = self.disk.lookup(above, part).ino
        self.disk.sync_all()
        self.disk.put_over(above, name, self.new_ino, empty)
        self.version += 1

    # -- for tests ------------------------------------------------------------------------

    def put_tree(self, *paths: str) -> None:
        """Make these directories (absolute paths, parents first), durable at once."""
        for path in paths:
            *parents, name = path.strip("/").split("/")
            ino = ROOT
            for part in parents:
                ino = self.disk.lookup(ino, part).ino
            self.disk.create(ino, name, self.new_ino(), stat.S_IFDIR, 0o700)
        self.disk.sync_all()
        self.version += 1

    def files(self, *, each_once: bool = False) -> dict[str, bytes]:
        """Return every file on the server, path -> contents, without caches, faults or passing time.

        Args:
            each_once: a file with several names is given by its newest name alone.
        """
        if not each_once:
            return dict(self.disk.files())
        newest: dict[int, tuple[str, bytes]] = {}
        for path, ino in self.disk.names():
            newest[ino] = (path, self.disk.nodes[ino].data)
        return dict(newest.values())
