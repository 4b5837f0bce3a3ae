"""The private state of a simulated host: descriptors, caches, unsent changes, a clock, faults."""

from __future__ import annotations

import errno
import os
import random
import stat
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from maildir_safe.testing.simdisk import ROOT, Disk, Node, fail
from maildir_safe.testing.simfaults import REPEATED_BY_KERNEL, REPEATED_BY_PYTHON, Fault, FaultPlan
from maildir_safe.testing.simserver import CALL_SECONDS, EPOCH, Call, HostDied, SimServer

T = TypeVar("T")


@dataclass(slots=True)
class Handle:
    """An open file or directory."""

    ino: int
    path: str
    offset: int = 0


class SimClient:
    """The machinery of `SimHost`: every call to the server goes through `_call`, counted and logged.

    Args:
        server: where the files are.
        name: how the history calls it; hosts of one server should differ.
        clock_offset: seconds that its wall clock is ahead of the server's.
        seed: what its random bytes are made from, together with its name.
        faults: what goes wrong on this host.

    Attributes:
        calls: how many file calls it has made.
        plan: its faults; `plan.hits` says which have struck.
        partitioned: it cannot reach the server.
        dead: it crashed; every further call raises `HostDied`.
    """

    def __init__(
        self, server: SimServer, name: str = "a", *, clock_offset: float = 0.0, seed: int = 0,
        faults: Iterable[Fault] = (),
    ) -> None:  # fmt: skip
        self.server = server
        self.name = name
        self.profile = server.profile
        self.clock_offset = clock_offset
        self.plan = FaultPlan(tuple(faults))
        self.calls = 0
        self.partitioned = False
        self.dead = False
        self._random = random.Random(f"{seed}/{name}")
        self._handles: dict[int, Handle] = {}
        self._next_fd = 1000
        self._booted = server.now - 100.0 - len(server.hosts)
        self._names: dict[tuple[int, str], tuple[int | None, float]] = {}
        self._attributes: dict[int, tuple[os.stat_result, float]] = {}
        self._listings: dict[int, tuple[list[str], float]] = {}
        self._log: list[tuple[float, str, Callable[[Disk], object]]] = []
        self._replica = server.disk.copy() if self.profile.write_back else server.disk
        self._replica_version = -1
        self._blocked = False
        self._unlinked: set[int] = set()
        self._odd: Fault | None = None
        self._blind: set[int] = set()
        server.hosts.append(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def open_descriptors(self) -> list[str]:
        """Return the paths of all open descriptors, to find leaks."""
        return [handle.path for handle in self._handles.values()]

    @property
    def view(self) -> Disk:
        """The files as this host sees them: its own copy if it delays changes."""
        return self._replica if self.profile.write_back else self.server.disk

    # -- the one way to the server --------------------------------------------------------

    def _call(
        self, kind: str, names: str, act: Callable[[Disk], T], *, changes: bool = False,
        failed: Callable[[Disk], object] | None = None, late: Callable[[Disk], object] | None = None,
    ) -> T:  # fmt: skip
        """Make one call; repeat it under the same name as the kernel and Python do unseen by the caller."""
        try:
            return self._call_once(kind, names, act, changes, failed, late)
        except OSError as error:
            if error.errno == errno.ESTALE and kind in REPEATED_BY_KERNEL:
                return self._call_once(kind, names, act, changes, failed, late)
            if error.errno == errno.EINTR and kind in REPEATED_BY_PYTHON:
                return self._call(kind, names, act, changes=changes, failed=failed, late=late)
            raise

    def _call_once(
        self, kind: str, names: str, act: Callable[[Disk], T], changes: bool,
        failed: Callable[[Disk], object] | None, late: Callable[[Disk], object] | None,
    ) -> T:  # fmt: skip
        if self.dead:
            raise HostDied(self.name)
        if self.server.turns:
            self.server.turns.turn(self)
        self.calls += 1
        self.server.advance(CALL_SECONDS)
        fault = self.plan.match(kind, names)
        if fault and fault.effect == "slow":
            self.sleep(fault.delay)
            fault = None
        self._odd = fault if fault and (not fault.error or fault.effect == "both") else None
        outcome = "odd (fault)" if self._odd else "ok"
        try:
            if fault and fault.error:
                outcome = f"{errno.errorcode[fault.error]} (fault: {fault.effect})"
                self._strike(fault, names, act, failed, late or act)
            if self.partitioned and not self.profile.write_back and kind not in ("fstat", "close"):
                raise fail(errno.ETIMEDOUT)
            return self._execute(names, act, changes)
        except OSError as error:
            if outcome == "ok":
                outcome = errno.errorcode.get(error.errno or 0, "?")
            raise
        finally:
            call = Call(self.server.now, self.name, kind, names, outcome)
            self.server.history.append(call)
            if self.server.after_call:
                self.server.after_call(call)

    def _execute(self, names: str, act: Callable[[Disk], T], changes: bool) -> T:
        disk = self._disk()
        if not changes:
            return act(disk)
        self.server.version += 1
        disk.now = self._stamp()
        result = act(disk)
        if self.profile.write_back:
            self._log.append((self.server.now + self.profile.write_back, names, act))
        return result

    def _strike(
        self, fault: Fault, names: str, act: Callable[[Disk], object],
        failed: Callable[[Disk], object] | None, late: Callable[[Disk], object],
    ) -> None:  # fmt: skip
        if fault.effect == "none" and failed:
            self._execute(names, failed, True)
        elif fault.effect in ("done", "both"):
            try:
                self._execute(names, act, True)
            except OSError:
                pass
        elif fault.effect == "late":
            when = self.server.now + fault.delay
            if self.profile.write_back:  # a request that is late is late on this host's own copy
                self.server.at(when, lambda _: self._execute(names, late, True))
            else:
                self.server.at(when, late)
        raise fail(fault.error, names)

    def _stamp(self) -> int:
        offset = 0.0 if self.profile.network else self.clock_offset
        return int((EPOCH + self.server.now + offset) * 1e9)

    def _disk(self) -> Disk:
        if not self.profile.write_back:
            return self.server.disk
        if not self._log and not self.partitioned and self._replica_version != self.server.version:
            before, self._replica = self._replica, self.server.disk.copy()
            self._replica_version = self.server.version
            if self.profile.open_directories_stay_stale:
                self._blind |= {ino for ino in self._held() if _changed(before, self._replica, ino)}
        return self._replica

    def _held(self) -> set[int]:
        """Return the directories that a process of this host has open."""
        return {handle.ino for handle in self._handles.values()}

    def reintegrate(self, now: float) -> None:
        """Send changes that are old enough to the server; a refused change is a conflict and ends it."""
        while self._log and not self.partitioned and not self._blocked and self._log[0][0] <= now:
            _, names, act = self._log[0]
            self.server.version += 1
            self.server.disk.now = int((EPOCH + now) * 1e9)
            try:
                act(self.server.disk)
            except OSError as error:
                self._blocked = True
                self.server.conflicts.append(f"{self.name}: {names}: {error.strerror}")
            else:
                del self._log[0]

    # -- time

    def sleep(self, seconds: float) -> None:
        """See `FileSystem.sleep`. Simulated time passes, and other hosts continue."""
        if self.dead:
            raise HostDied(self.name)
        until = self.server.now + seconds
        if self.server.turns:
            self.server.turns.sleep(self, until)
        if self.server.now < until:
            self.server.advance(until - self.server.now)

    # -- names and caches -----------------------------------------------------------------

    def _handle(self, fd: int) -> Handle:
        try:
            return self._handles[fd]
        except KeyError:
            if self.dead:
                raise HostDied(self.name) from None
            raise fail(errno.EBADF) from None

    def _new_fd(self, ino: int, path: str) -> int:
        self._next_fd += 1
        self._handles[self._next_fd] = Handle(ino, path)
        return self._next_fd

    def _let_go(self, fd: int) -> None:
        del self._handles[fd]
        self._blind &= self._held()

    def _where(self, fd: int, name: str) -> tuple[int, str]:
        handle = self._handle(fd)
        return handle.ino, f"{handle.path.rstrip('/')}/{name}"

    def _check_name(self, name: str) -> None:
        if len(os.fsencode(name)) > self.profile.name_max:
            raise fail(errno.ENAMETOOLONG, name)
        if any(character in self.profile.refused for character in name):
            raise fail(self.profile.refused_errno, name)

    def _into(self, disk: Disk, ino: int, blind: int = errno.ETOOMANYREFS) -> int:
        """Return a directory for use through a descriptor: resolved, existing, and not stale."""
        if ino in self._blind:
            raise fail(blind)
        self.server.looked_at(ino)
        node = disk.nodes[ino]
        if node.kind == stat.S_IFDIR and not node.links:
            raise fail(errno.ESTALE if self.profile.network else errno.ENOENT)
        return ino

    def _lookup(self, disk: Disk, parent: int, name: str) -> Node:
        known = self._names.get((parent, name))
        if known and known[1] > self.server.now:
            if known[0] is None:
                raise fail(errno.ENOENT, name)
            return disk.nodes[known[0]]
        try:
            node = disk.lookup(self._into(disk, parent), name)
        except FileNotFoundError:
            self._remember(parent, name, None)
            raise
        self._remember(parent, name, node.ino)
        if node.kind == stat.S_IFDIR:
            self.server.looked_at(node.ino)
            return disk.lookup(parent, name)
        return node

    def _remember(self, parent: int, name: str, ino: int | None) -> None:
        seconds = self.profile.negative if ino is None else self.profile.lookup
        self._names.pop((parent, name), None)
        if seconds:
            self._names[parent, name] = (ino, self.server.now + seconds)

    def _walk(self, disk: Disk, start: int, path: str) -> Node:
        node = disk.nodes[start]
        for part in (part for part in path.split("/") if part not in ("", ".")):
            parent = self._into(disk, node.ino)
            node = disk.lookup(parent, part)
            if node.kind == stat.S_IFDIR:
                self.server.looked_at(node.ino)
                node = disk.lookup(parent, part)  # a conflict has put a link in its place
            if node.kind == stat.S_IFLNK:
                node = self._walk(disk, ROOT, os.fsdecode(node.data))
        if node.ino in self._blind:
            raise fail(errno.EIO, path)
        return node

    def _readable(self, node: Node) -> Node:
        if self.profile.network and not node.links and node.ino not in self._unlinked:
            raise fail(errno.ESTALE)
        return node

    def _forget(self, parent: int, name: str) -> None:
        self._names.pop((parent, name), None)
        self._listings.pop(parent, None)

    def _stat(self, node: Node, path: str) -> os.stat_result:
        cached = self._attributes.get(node.ino)
        if cached and cached[1] > self.server.now:
            return cached[0]
        mtime = node.mtime - node.mtime % self.profile.mtime_step
        atime = node.atime - node.atime % self.profile.atime_step
        ino = node.ino if self.profile.stable_inodes else zlib.crc32(os.fsencode(path))
        seconds = (atime // 10**9, mtime // 10**9, mtime // 10**9)
        found = os.stat_result(
            (node.kind | node.mode, ino, 1, node.links, 0, 0, len(node.data), *seconds),
            {"st_atime": atime / 1e9, "st_mtime": mtime / 1e9, "st_atime_ns": atime, "st_mtime_ns": mtime},
        )
        if self.profile.attributes:
            self._attributes[node.ino] = (found, self.server.now + self.profile.attributes)
        return found

    def _parent(self, name: str, dir_fd: int | None) -> tuple[Callable[[Disk], int], str, str]:
        if dir_fd is not None:
            ino, full = self._where(dir_fd, name)
            return lambda _: ino, name, full
        above, _, last = name.rstrip("/").rpartition("/")
        return lambda disk: self._walk(disk, ROOT, above).ino, last, name


def _changed(before: Disk, after: Disk, ino: int) -> bool:
    """Report whether a directory's names have changed; a conflict, shown as a link, is not a change."""
    old, new = before.nodes.get(ino), after.nodes.get(ino)
    if old is None or new is None:
        return False
    changed = {name for name, _ in old.entries.items() ^ new.entries.items()}
    links = {name for name, child in new.entries.items() if after.nodes[child].kind == stat.S_IFLNK}
    return bool(changed - links)
