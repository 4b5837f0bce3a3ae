"""Checks a spool, and repairs what can be repaired without a risk.

Workers and putters may run at the same time: an entry that moves during the check is looked up again before
it is reported. Nothing that may be a message is ever removed. A file is damaged only if it was read
completely, twice, and is wrong; it goes to corrupt/. A storage error is not damage: an entry that cannot be
examined stays where it is, and the finding says so.
"""

from __future__ import annotations

import hashlib
import io
import os.path
import shlex
import stat
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from maildir_safe._delivery.attempt import JANITOR_AGE
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.listing import stable_listing
from maildir_safe._handoff.rename import DONE, Handoff, close_quietly
from maildir_safe._handoff.small_files import server_time, server_time_to_look
from maildir_safe._maildir.unfinished import unfinished_beside
from maildir_safe._queue.admin import QueueEntry
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.bucket import parse as parse_bucket
from maildir_safe._queue.store.delivery_log import DeliveryLog
from maildir_safe._queue.store.hashed_directory import PARTS
from maildir_safe._queue.store.item import Item
from maildir_safe._queue.store.item_name import parse
from maildir_safe._queue.store.layout import DIRECTORIES, Layout, may_hold_items
from maildir_safe._queue.suspensions import PREFIX as SUSPENSIONS
from maildir_safe.errors import MaildirSafeError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maildir_safe._fs import FileSystem


# every error that a mount or a spool may raise while it is examined
TROUBLE = (OSError, MaildirSafeError)


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect, or an entry that could not be examined.

    Attributes:
        path: the entry.
        what: the finding, in words.
        mended: whether the defect was repaired.
        looked: False if a storage error prevented the check: no defect is known.
    """

    path: str
    what: str
    mended: bool = False
    looked: bool = True


def not_looked(path: str, error: Exception) -> Finding:
    """The finding for an entry that could not be examined because of a storage error."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return Finding(path, f"could not be looked at: {reason}", looked=False)


class SpoolCheck:
    """Checks one spool.

    Args:
        path: the spool.
        fix: repair what can be repaired without a risk.
        fs: the file system's calls.

    Raises:
        TemporaryError: the path is not a spool.
    """

    def __init__(self, path: str, fix: bool = False, fs: FileSystem | None = None) -> None:
        self._fs = fs or OsFileSystem()
        self._path = path
        self._fix = fix
        self._layout = Layout(self._fs, path, create=False)
        self._queue = Queue(path, create=False, shared=False, heartbeat=False, fs=self._fs)
        self._handoff = Handoff(self._fs)
        self._items: list[QueueEntry] = []

    def run(self) -> Iterator[Finding]:
        """All defects, and all entries that could not be examined."""
        try:
            self._items = list(self._queue.items())
        except TROUBLE as error:
            yield not_looked(self._path, error)
            return
        checks = (
            self._strays,
            self._unfinished,
            self._aside,
            self._buckets,
            self._check_items,
            self._twice,
            self._workers,
            self._delivery_log,
        )
        for check in checks:
            try:
                yield from check()
            except TROUBLE as error:
                yield not_looked(self._path, error)

    def _check_items(self) -> Iterator[Finding]:
        for listed in self._items:
            yield from self._item(listed)

    def _strays(self) -> Iterator[Finding]:
        for name in sorted(self._fs.listdir(self._layout.root)):
            if name not in (*DIRECTORIES, "lost+found") and not name.startswith(SUSPENSIONS):
                yield Finding(f"{self._path}/{name}", "does not belong into a spool")
        for where in self._layout.hashed:
            for part in sorted(set(self._fs.listdir(self._layout.fd[where])) - set(PARTS)):
                yield Finding(f"{self._path}/{where}/{part}", f"does not belong into {where}/")
            yield from self._no_directories(where, PARTS)
        for where in ("hold", "failed"):
            for part, name in self._files_in(where):
                if parse(name) is None:
                    yield self._not_an_item(f"{where}/{part}/{name}", name)

    def _no_directories(self, where: str, names: Iterable[str]) -> Iterator[Finding]:
        """What has the name of a bucket, a part or a worker's directory, and can hold no items."""
        above = self._layout.fd[where]
        for name in sorted({*names} & {*self._fs.listdir(above)}):
            if not may_hold_items(self._fs, name, above):
                yield Finding(f"{self._path}/{where}/{name}", "is no directory, and is ignored; remove it")

    def _not_an_item(self, path: str, name: str) -> Finding:
        if name.startswith((".nfs", ".fuse_hidden")):
            return Finding(
                f"{self._path}/{path}", "was removed while still in use; it goes when it is closed"
            )
        return Finding(f"{self._path}/{path}", "is not the name of an item")

    def _unfinished(self) -> Iterator[Finding]:
        """Old files of interrupted puts; their age is measured by the server's own clock."""
        tmp = self._layout.fd["tmp"]
        names = self._fs.listdir(tmp)
        if not names:
            return
        now = (server_time if self._fix else server_time_to_look)(self._fs, tmp)
        for name in sorted(names):
            try:
                age = now - self._fs.stat(name, tmp).st_mtime
                if age > JANITOR_AGE:
                    if self._fix:
                        self._remove(name, tmp)
                    yield Finding(f"{self._path}/tmp/{name}", "was left by an interrupted put", self._fix)
            except FileNotFoundError:
                continue  # published in the meantime

    def _aside(self) -> Iterator[Finding]:
        """What an interrupted creation of this spool has left beside it, by the server's clock."""
        fs, path = self._fs, self._path
        if not unfinished_beside(fs, path, float("inf"), False, DIRECTORIES):
            return
        clock = server_time if self._fix else server_time_to_look
        before = clock(fs, self._layout.fd["tmp"]) - JANITOR_AGE
        found = unfinished_beside(fs, path, before, self._fix, DIRECTORIES)
        # not by age: one that holds something has just lost its empty directories
        left = unfinished_beside(fs, path, float("inf"), False, DIRECTORIES)
        for name in sorted(found):
            where = os.path.join(os.path.dirname(os.path.abspath(path)), name)
            yield Finding(where, "was left by an interrupted creation of this spool", name not in left)

    def _remove(self, name: str, tmp: int) -> None:
        """Remove a file, or the empty directory that seals a name (`late_calls.seal`)."""
        try:
            self._fs.unlink(name, dir_fd=tmp)
        except IsADirectoryError:
            self._fs.rmdir(name, tmp)

    def _buckets(self) -> Iterator[Finding]:
        pending = self._layout.fd["pending"]
        buckets = sorted(self._fs.listdir(pending))
        yield from self._no_directories("pending", filter(parse_bucket, buckets))
        for bucket in buckets:
            if parse_bucket(bucket) is None:
                yield Finding(f"{self._path}/pending/{bucket}", "is not the name of a bucket")
                continue
            for name in self._list(bucket, pending):
                if parse(name) is None:
                    yield self._not_an_item(f"pending/{bucket}/{name}", name)

    def _item(self, listed: QueueEntry) -> Iterator[Finding]:
        """Check that a file matches its name."""
        try:
            wrong = self._what_is_wrong(listed)
        except FileNotFoundError:
            return  # it has moved: a worker is active
        except TROUBLE as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                yield not_looked(f"{self._path}/{listed.path}", error)
            return
        if listed.state == "corrupt":
            yield Finding(f"{self._path}/{listed.path}", wrong or self._how_to_put_back(listed.item))
        elif wrong:
            mended = self._fix and listed.state != "claimed" and self._move_to_corrupt(listed, wrong)
            yield Finding(
                f"{self._path}/{listed.path}", wrong + (", moved to corrupt/" if mended else ""), mended
            )

    def _how_to_put_back(self, item: Item) -> str:
        return f"is healthy; put it back by: maildir-safe queue retry {shlex.quote(self._path)} {item.id}"

    def _what_is_wrong(self, listed: QueueEntry) -> str:
        """The defect in words; empty if there is none. Raises OSError, TemporaryError: it cannot be read."""
        if listed.state == "corrupt" and not stat.S_ISREG(self._stat(listed).st_mode):
            return "is not a file"  # in pending/ it may be a seal
        first = self._seen(listed)
        wrong = _judge(first, listed)
        if not wrong:
            return ""
        size = self._stat(listed).st_size
        if first.size != size or self._seen(listed) != first:
            raise TemporaryError(f"read {first.size} bytes of {size}, or other ones the second time")
        return wrong

    def _seen(self, listed: QueueEntry) -> _Seen:
        size, start, digest = 0, b"", hashlib.blake2b()
        for piece in self._queue.contents(listed):  # a damaged item may have any size
            size += len(piece)
            start += piece[: envelope.LONGEST_HEAD - len(start)]
            digest.update(piece)
        return _Seen(size, start, digest.digest())

    def _stat(self, listed: QueueEntry) -> os.stat_result:
        source = self._fs.open_dir(listed.within, self._layout.fd[listed.state])
        try:
            return self._fs.stat(listed.item.name, source)
        finally:
            close_quietly(self._fs, source)

    def _move_to_corrupt(self, listed: QueueEntry, wrong: str) -> bool:
        note = {"at": self._fs.time_ns() / 1e9, "text": f"fsck: {wrong}"}
        DeliveryLog(self._fs, self._layout).write(listed.item, note, durable=False)  # for `queue why`
        corrupt = self._layout.hashed["corrupt"].make(listed.item.id)
        source = self._fs.open_dir(listed.within, self._layout.fd[listed.state])
        try:
            name = listed.item.name
            return self._handoff.claim(source, name, corrupt.dir_fd, name).kind == DONE
        finally:
            close_quietly(self._fs, source)

    def _twice(self) -> Iterator[Finding]:
        """Ids in two places, checked twice, since an item that moves may be in two successive listings."""
        places: dict[str, list[QueueEntry]] = defaultdict(list)
        for listed in self._items:
            places[listed.item.id].append(listed)
        for ident, found in places.items():
            if len(found) > 1:
                still = [listed for listed in found if self._is_there(listed)]
                if len(still) > 1:
                    where = ", ".join(listed.path for listed in still)
                    yield Finding(f"{self._path}: {ident}", f"is there {len(still)} times: {where}")

    def _is_there(self, listed: QueueEntry) -> bool:
        names = self._list(listed.within, self._layout.fd[listed.state])
        return listed.item.name in names

    def _workers(self) -> Iterator[Finding]:
        """Directories in claimed/ with neither a heartbeat nor a marker; workers sweep them after ten leases.

        A listing may omit a heartbeat, so items are returned only if there is no heartbeat at all.
        """
        fs, fd = self._fs, self._layout.fd
        alive = {name.rpartition(".")[0] for name in fs.listdir(fd["alive"])} | set(fs.listdir(fd["fenced"]))
        for worker in sorted(fs.listdir(fd["claimed"])):
            if worker in alive:
                continue
            held = [name for name in self._list(worker, fd["claimed"]) if parse(name)]
            mended = self._fix and (not held or not fs.listdir(fd["alive"])) and self._sweep(worker)
            yield Finding(
                f"{self._path}/claimed/{worker}", f"belongs to no worker and holds {len(held)} items", mended
            )

    def _sweep(self, worker: str) -> bool:
        try:
            self._queue.sweep(worker)
        except (OSError, MaildirSafeError):
            return False
        return True

    def _delivery_log(self) -> Iterator[Finding]:
        """Notes of items that are gone, left by a worker that was killed after its last rename."""
        notes, names = self._layout.fd["notes"], list(self._files_in("notes"))
        known = {listed.item.id for listed in self._queue.items()} if names else set()
        for part, name in names:
            ident, _, gen = name.rpartition(".")
            if ident in known and gen.isdecimal():
                continue
            mended = self._fix and parse(Item(ident, 0, 0, 0, 0, "o").name) is not None and gen.isdecimal()
            if mended:
                opened = self._fs.open_dir(part, notes)
                self._fs.unlink(name, dir_fd=opened)
                self._fs.close(opened)
            yield Finding(f"{self._path}/notes/{part}/{name}", "is about no item", mended)

    def _files_in(self, where: str) -> Iterator[tuple[str, str]]:
        """The part and the name of every file in hold/, failed/, corrupt/ or notes/."""
        for part in sorted(self._fs.listdir(self._layout.fd[where])):
            for name in sorted(self._list(part, self._layout.fd[where])):
                yield part, name

    def _list(self, name: str, above: int) -> list[str]:
        try:
            dir_fd = self._fs.open_dir(name, above)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return stable_listing(self._fs, dir_fd)
        finally:
            close_quietly(self._fs, dir_fd)


class _Seen(NamedTuple):
    """What was read of an item's file: the bytes counted, those of the envelope, and a digest of all."""

    size: int
    start: bytes
    digest: bytes


def _judge(seen: _Seen, listed: QueueEntry) -> str:
    """The defect of an item's file, in words; empty if there is none."""
    if seen.size != listed.item.size:
        return _wrong_size(seen.size, listed.item.size)
    try:
        envelope.read(io.BytesIO(seen.start), listed.item.states)
    except envelope.Unreadable as reason:
        return f"has no good envelope: {reason}"
    return ""


def _wrong_size(found: int, promised: int) -> str:
    kind = "short" if found < promised else "long"
    return f"is {abs(promised - found)} bytes too {kind}: it has {found}, and its name says {promised}"
