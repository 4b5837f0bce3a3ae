"""The medium of the simulated file system: visible state, durable state, and the outcomes of a crash.

Four rules of what a crash may keep, chosen when the disk is made:

* ``ordered``: names change on disk in the order in which they changed in memory, as in a
  journal. A crash keeps the first k changes.
* ``atomic``: each call is kept or lost as a whole, so a rename never shows half, and a call
  that uses a name is never kept without the call that made the name. Otherwise any subset.
* ``logged``: as ``atomic``, but fsync of a directory keeps only that directory's own new names
  and nothing of where they came from: after a rename both names may be found. So btrfs does it
  (measured, tests/crash/test_disk_replay.py).
* ``weak``: every single entry added or removed is kept or lost on its own, as on a file system
  without a journal: a rename may leave both names, or none.

What each call makes durable: `flush` (fsync of a file) its contents, size and time, not its
name; `sync_dir` (fsync of a directory) its entries, with all that the rule above ties to
them; `sync_all` (syncfs) everything; close nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from maildir_safe.testing.simcrash import Change, Choice, Mode, contents_after, outcomes, patched

ROOT = 1


def fail(code: int, name: str = "") -> OSError:
    """Return the `OSError` of an errno, as the system would raise it."""
    return OSError(code, os.strerror(code), name)


class Node:
    """A file, directory or symbolic link.

    `data`, `entries` and `mtime` are what everyone sees; `disk_data`, `disk_entries` and
    `disk_mtime` what survives any crash; `chunks` the writes between the two.
    """

    __slots__ = (
        "atime", "chunks", "data", "disk_data", "disk_entries", "disk_mtime", "entries", "ino", "kind",
        "links", "mode", "mtime",
    )  # fmt: skip

    def __init__(self, ino: int, kind: int, mode: int, now: int) -> None:
        self.ino = ino
        self.kind = kind
        self.mode = mode
        self.links = 0
        self.data = self.disk_data = b""
        self.chunks: list[tuple[int, bytes]] = []
        self.entries: dict[str, int] = {}
        self.disk_entries: dict[str, int] = {}
        self.mtime = self.disk_mtime = self.atime = now

    def copy(self) -> Node:
        """Return an independent copy."""
        twin = Node(self.ino, self.kind, self.mode, self.mtime)
        twin.links = self.links
        twin.data = self.data
        twin.disk_data = self.disk_data
        twin.chunks = self.chunks.copy()
        twin.entries = self.entries.copy()
        twin.disk_entries = self.disk_entries.copy()
        twin.disk_mtime = self.disk_mtime
        twin.atime = self.atime
        return twin


@dataclass
class Disk:
    """Files and directories by number, in memory.

    Attributes:
        mode: which subset of changes a crash may keep (see the module).
        fold: names that differ in case only are the same name.
        now: the time that changes are stamped with, nanoseconds since 1970.
    """

    mode: Mode = "atomic"
    fold: bool = False
    now: int = 0
    nodes: dict[int, Node] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    serial: int = 0

    def __post_init__(self) -> None:
        if not self.nodes:
            self.nodes[ROOT] = Node(ROOT, stat.S_IFDIR, 0o700, self.now)
            self.nodes[ROOT].links = 1

    def copy(self) -> Disk:
        """Return an independent copy, for a crash that the original does not see."""
        nodes = {ino: node.copy() for ino, node in self.nodes.items()}
        return Disk(self.mode, self.fold, self.now, nodes, self.pending.copy(), self.serial)

    # -- names ----------------------------------------------------------------------------

    def directory(self, ino: int) -> Node:
        """Return the directory with this number; ENOTDIR, or ENOENT if it was removed."""
        node = self.nodes[ino]
        if node.kind != stat.S_IFDIR:
            raise fail(errno.ENOTDIR)
        if not node.links:
            raise fail(errno.ENOENT)
        return node

    def spelled(self, parent: Node, name: str) -> str:
        """Return the name as stored in the directory; it differs only if case is folded."""
        if self.fold and name not in parent.entries:
            lower = name.lower()
            return next((known for known in parent.entries if known.lower() == lower), name)
        return name

    def lookup(self, parent: int, name: str) -> Node:
        """Return the number of the object with this name; ENOENT."""
        directory = self.directory(parent)
        ino = directory.entries.get(self.spelled(directory, name))
        if ino is None:
            raise fail(errno.ENOENT, name)
        return self.nodes[ino]

    def _change(self, *effects: tuple[int, str, int | None]) -> None:
        for parent, name, ino in effects:
            directory = self.nodes[parent]
            directory.mtime = self.now
            if ino is None:
                self.nodes[directory.entries.pop(name)].links -= 1
            else:
                old = directory.entries.get(name)
                if old is not None:
                    self.nodes[old].links -= 1
                directory.entries[name] = ino
                self.nodes[ino].links += 1
        for group in [(effect,) for effect in effects] if self.mode == "weak" else [effects]:
            self.serial += 1
            self.pending.append(Change(self.serial, group, self._needs(group)))

    def _needs(self, group: tuple[tuple[int, str, int | None], ...]) -> frozenset[int]:
        if self.mode == "weak" or not self.pending:
            return frozenset()
        if self.mode == "ordered":
            return frozenset((self.pending[-1].number,))
        names = {(parent, name) for parent, name, _ in group}
        return frozenset(
            change.number for change in self.pending if any((p, n) in names for p, n, _ in change.effects)
        )

    def create(self, parent: int, name: str, ino: int, kind: int = stat.S_IFREG, mode: int = 0o600) -> Node:
        """Make a file, directory or link with the given number; EEXIST."""
        directory = self.directory(parent)
        if self.spelled(directory, name) in directory.entries:
            raise fail(errno.EEXIST, name)
        node = self.nodes[ino] = Node(ino, kind, mode, self.now)
        self._change((parent, name, ino))
        return node

    def link(self, src_dir: int, src: str, dst_dir: int, dst: str) -> None:
        """Make a second name for a file; EEXIST, ENOENT."""
        node = self.lookup(src_dir, src)
        target = self.directory(dst_dir)
        if self.spelled(target, dst) in target.entries:
            raise fail(errno.EEXIST, dst)
        self._change((dst_dir, dst, node.ino))

    def rename(self, src_dir: int, src: str, dst_dir: int, dst: str, replace: bool = True) -> None:
        """Rename, replacing an existing name if `replace`; ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR."""
        node = self.lookup(src_dir, src)
        target = self.directory(dst_dir)
        old = target.entries.get(self.spelled(target, dst))
        if old is not None and not replace:
            raise fail(errno.EEXIST, dst)
        if old is not None:
            self._replaceable(node, self.nodes[old], dst)
        if node.kind == stat.S_IFDIR and src_dir != dst_dir and not node.mode & stat.S_IWUSR:
            raise fail(errno.EACCES, src)  # its ".." would change
        src = self.spelled(self.nodes[src_dir], src)
        if old == node.ino and (src_dir, src) != (dst_dir, dst):
            return  # POSIX: two names of one file, and nothing happens
        if old is not None and self.spelled(target, dst) != dst:
            self._change((dst_dir, self.spelled(target, dst), None))
        if (src_dir, src) != (dst_dir, dst):
            self._change((dst_dir, dst, node.ino), (src_dir, src, None))

    def _replaceable(self, node: Node, old: Node, name: str) -> None:
        """Check a replacement: a directory replaces only an empty directory, and a file never does."""
        if (node.kind == stat.S_IFDIR) != (old.kind == stat.S_IFDIR):
            raise fail(errno.EISDIR if old.kind == stat.S_IFDIR else errno.ENOTDIR, name)
        if old.entries:
            raise fail(errno.ENOTEMPTY, name)

    def unlink(self, parent: int, name: str) -> None:
        """Remove a file's name; ENOENT, EISDIR."""
        node = self.lookup(parent, name)
        if node.kind == stat.S_IFDIR:
            raise fail(errno.EISDIR, name)
        self.detach(parent, name)

    def detach(self, parent: int, name: str) -> None:
        """Remove a name, whatever its type."""
        self._change((parent, self.spelled(self.nodes[parent], name), None))

    def rmdir(self, parent: int, name: str) -> None:
        """Remove an empty directory; ENOENT, ENOTDIR, ENOTEMPTY."""
        node = self.lookup(parent, name)
        if node.kind != stat.S_IFDIR:
            raise fail(errno.ENOTDIR, name)
        if node.entries:
            raise fail(errno.ENOTEMPTY, name)
        self.detach(parent, name)

    def put_over(self, parent: int, name: str, new_ino: Callable[[], int], empty: bool) -> None:
        """Cover a directory with another one, durably: empty, or with a copy of its contents.

        The covered directory keeps its links, for processes that hold it open.
        """
        old = self.lookup(parent, name)
        self._cover(parent, name, old, new_ino, empty)

    def _cover(self, parent: int, name: str, old: Node, new_ino: Callable[[], int], empty: bool) -> None:
        ino = new_ino()
        node = self.nodes[ino] = old.copy()
        node.ino, node.links = ino, 1
        node.entries, node.disk_entries = {}, {}
        for entries in (self.nodes[parent].entries, self.nodes[parent].disk_entries):
            entries[name] = ino
        for child, child_ino in old.entries.items() if not empty else ():
            self._cover(ino, child, self.nodes[child_ino], new_ino, empty)

    # -- contents -------------------------------------------------------------------------

    def write(self, ino: int, offset: int, data: bytes) -> None:
        """Write `data` at `offset`; it is visible at once and durable after `flush`."""
        node = self.nodes[ino]
        node.data = patched(node.data, offset, data)
        node.chunks.append((offset, data))
        node.mtime = self.now

    def flush(self, ino: int) -> None:
        """Fsync a file: its contents, size and time become durable, its name does not."""
        node = self.nodes[ino]
        node.disk_data, node.disk_mtime = node.data, node.mtime
        node.chunks.clear()

    def drop(self, ino: int) -> None:
        """Fail a write-back: undurable contents are lost, and no later fsync reports it."""
        node = self.nodes[ino]
        node.data = node.disk_data
        node.chunks.clear()

    def sync_dir(self, ino: int) -> None:
        """Fsync a directory: its entries become durable, with everything tied to them."""
        if self.mode == "logged":
            self._split(ino)
        self._keep(self._closure(c for c in self.pending if any(parent == ino for parent, _, _ in c.effects)))

    def _split(self, ino: int) -> None:
        """Untie the names that entered this directory from their previous names."""
        for index, change in enumerate(self.pending):
            entered = tuple(effect for effect in change.effects if effect[0] == ino and effect[2])
            others = tuple(effect for effect in change.effects if effect[0] != ino)
            if entered and others:
                self.serial += 1
                self.pending[index] = Change(change.number, entered, change.needs)
                self.pending.append(Change(self.serial, others, frozenset((change.number,))))

    def sync_all(self) -> None:
        """Sync the file system: everything becomes durable."""
        self._keep({change.number for change in self.pending})
        for node in self.nodes.values():
            if node.chunks or node.mtime != node.disk_mtime:
                self.flush(node.ino)

    def _closure(self, changes: Iterator[Change]) -> set[int]:
        wanted = {change.number for change in changes}
        for change in reversed(self.pending):
            if change.number in wanted:
                wanted |= change.needs
        return wanted

    def _keep(self, numbers: set[int] | frozenset[int]) -> None:
        for change in self.pending:
            if change.number in numbers:
                for parent, name, ino in change.effects:
                    entries = self.nodes[parent].disk_entries
                    if ino is None:
                        entries.pop(name, None)
                    else:
                        entries[name] = ino
        self.pending = [change for change in self.pending if change.number not in numbers]

    # -- crash ----------------------------------------------------------------------------

    def choices(self) -> Iterator[Choice]:
        """Return every outcome of a crash now, by the disk's mode, each once."""
        stable = {
            (node.ino, name): ino for node in self.nodes.values() for name, ino in node.disk_entries.items()
        }
        unsynced = {
            node.ino: contents_after(self.mode, node.disk_data, node.data, node.chunks)
            for node in self.nodes.values()
            if node.chunks
        }
        return outcomes(self.pending, stable, unsynced)

    def files_after(self, choice: Choice) -> dict[str, bytes]:
        """Return path and contents of every file after a crash now; nothing is changed."""
        entries: dict[int, list[tuple[str, int]]] = {}
        for (parent, name), ino in sorted(choice.names):
            entries.setdefault(parent, []).append((name, ino))
        torn = dict(choice.contents)
        found: dict[str, bytes] = {}
        directories = [(ROOT, "")]
        for parent, path in directories:
            for name, ino in entries.get(parent, ()):
                node = self.nodes[ino]
                if node.kind == stat.S_IFDIR:
                    directories.append((ino, f"{path}/{name}"))
                elif node.kind == stat.S_IFREG:
                    found[f"{path}/{name}"] = torn.get(ino, node.disk_data)
        return found

    def crash(self, choice: Choice) -> None:
        """Lose everything that is not durable, except what `choice` keeps."""
        self._keep(choice.kept)
        self.pending.clear()
        for ino, data in choice.contents:
            self.nodes[ino].disk_data = data
        for node in self.nodes.values():
            node.data, node.mtime, node.entries = node.disk_data, node.disk_mtime, node.disk_entries.copy()
            node.chunks.clear()
            node.links = 0
        self.nodes[ROOT].links = 1
        reached = [ROOT]
        for ino in reached:
            for child in self.nodes[ino].entries.values():
                if not self.nodes[child].links:
                    reached.append(child)
                self.nodes[child].links += 1
        self.nodes = {ino: self.nodes[ino] for ino in reached}

    def names(self, ino: int = ROOT, path: str = "") -> Iterator[tuple[str, int]]:
        """Yield path and number of every reachable file; within a directory in order of creation."""
        for name, child in self.nodes[ino].entries.items():
            kind = self.nodes[child].kind
            if kind == stat.S_IFDIR:
                yield from self.names(child, f"{path}/{name}")
            elif kind == stat.S_IFREG:
                yield f"{path}/{name}", child

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Return path and contents of every reachable file, in the order of `names`."""
        for path, ino in self.names():
            yield path, self.nodes[ino].data
