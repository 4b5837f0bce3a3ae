"""Finding due items, without ever listing the whole queue.

A pass lists pending/ once, and then the due buckets, one at a time. Each worker starts at a different
place, so that workers rarely compete for the same item. Each pass begins with a fresh listing, so that no
bucket is passed over for ever. This module does not change items.

A process that also puts items looks into its own bucket first, where it has hardly any competition. It
remembers what it has just put; otherwise it lists one directory instead of all. One second after a full
pass the next full pass is due, and it completes before the process's own bucket has priority again.
"""

from __future__ import annotations

import errno
import logging
from threading import Lock
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.seals import without_seals
from maildir_safe._queue.store.bucket import NOW, Bucket, parse as parse_bucket, period
from maildir_safe._queue.store.item_name import is_absurd, parse
from maildir_safe._queue.store.layout import may_hold_items
from maildir_safe._queue.store.states import OWED, has_report_due
from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import TypeVar

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout
    from maildir_safe._queue.store.writer import BucketTarget

    T = TypeVar("T")

log = logging.getLogger("maildir_safe.queue")

_CLOSED_EMPTY = 10.0  # seconds that a bucket must be empty before it is removed, if its writer has left it
_EMPTY = 900.0  # the same for any other bucket: its writer leaves it after `writer.RETIRED_AFTER`
_OWN_FIRST = 1.0  # seconds of priority for the own bucket after a full pass; a put is claimed within 2 s
_AT_ONCE = 256  # names that are parsed together, so that claiming one item does not parse the whole bucket
_REMOVED = (errno.ENOENT, errno.ESTALE)


class OpenBucket:
    """A bucket's name and descriptor, closed when the last group from it is garbage."""

    def __init__(self, fs: FileSystem, name: str, dir_fd: int) -> None:
        self._fs = fs
        self.name = name
        self.dir_fd = dir_fd

    def __del__(self) -> None:
        close_quietly(self._fs, self.dir_fd)


class Group:
    """Items of one bucket, as listed, that are all to be treated in the same way.

    Attributes:
        bucket: the bucket that they are in.
        ready: the items may be attempted now; else their bucket is too wide, and they go into a narrower one.
        has_due_recipients: at least one recipient is due now; else only a bounce is due.
        items: the items as their names describe them.
    """

    __slots__ = ("bucket", "has_due_recipients", "items", "ready")

    def __init__(
        self, bucket: OpenBucket | BucketTarget, ready: bool, has_due_recipients: bool, items: list[Item]
    ) -> None:
        self.bucket = bucket
        self.ready = ready
        self.has_due_recipients = has_due_recipients
        self.items = items

    def part(self, items: list[Item]) -> Group:
        """A group of the same kind with some of the items."""
        return Group(self.bucket, self.ready, self.has_due_recipients, items)


class Scanner:
    """Returns items to claim, in batches. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        start: any number; workers with different numbers begin at different places.
        host: return only what this host has put; None: all items.
        own: returns the bucket that this process puts into now, None if it has not put anything.
        quarantine: moves a file with an invalid name out of a directory, given by descriptor.

    Attributes:
        passes_done: the number of completed passes over all buckets.
        trouble: the error of a bucket that could not be read in the current pass, or in the last one; None
            if all could be read. A bucket that cannot be read does not starve others.
    """

    def __init__(
        self,
        fs: FileSystem,
        layout: Layout,
        start: int,
        host: str | None,
        own: Callable[[], BucketTarget | None],
        quarantine: Callable[[int, str], None],
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._start = start
        self._host = host
        self._own_bucket = own
        self._quarantine = quarantine
        self.trouble: OSError | TemporaryError | None = None
        self._own_first_until = 0.0
        self.passes_done = 0
        self._lock = Lock()
        self._iterator = self._passes()
        self._requeued: list[Group] = []
        self._stopped_at: OpenBucket | BucketTarget | None = None
        self._skipped: OpenBucket | BucketTarget | None = None
        self._empty_since: dict[str, float] = {}
        self._strays: set[str] = set()

    def next_batch(self, limit: int, bounces: bool) -> Group | None:
        """The next items to claim; None at the end of a pass, after which the next call begins another.

        Args:
            limit: most items to return.
            bounces: also return items that are owed to no recipient but whose bounce is due.

        Raises:
            OSError: pending/ cannot be listed.
        """
        with self._lock:
            while (group := self._requeued.pop() if self._requeued else self._next()) is not None:
                if group.bucket is self._skipped or not (bounces or group.has_due_recipients):
                    continue
                if len(group.items) <= limit:
                    return group
                part = group.part(group.items[:limit])
                del group.items[:limit]
                self._requeued.append(group)
                return part
            return None

    def report_failure(self, untried: Group, error: OSError | TemporaryError) -> None:
        """Report that an item could not be claimed, and that the rest of its group was not tried.

        The rest is returned once more, since only the one item may be bad. After a second failure the bucket
        is skipped until the next pass, which begins at another place in it.
        """
        with self._lock:
            self.trouble = error
            if self._stopped_at is not untried.bucket:
                self._stopped_at = untried.bucket
                if untried.items:
                    self._requeued.append(untried)
                return
            self._skipped = untried.bucket
            self._start += 1
            self._requeued = [other for other in self._requeued if other.bucket is not untried.bucket]

    def report_missing(self, group: Group) -> None:
        """Report that an item was gone: others compete, or the listing was old. A full pass comes next."""
        with self._lock:
            self._own_first_until = 0.0
            if group.bucket is self._own_bucket():
                self._requeued = [other for other in self._requeued if other.bucket is not group.bucket]

    def _next(self) -> Group | None:
        try:
            return next(self._iterator)
        except BaseException:  # an exception ends a generator
            self._iterator = self._passes()
            raise

    def _passes(self) -> Iterator[Group | None]:
        """Pass after pass: over the own bucket while it has priority, else over all buckets and then None."""
        while True:
            now = self._fs.time_ns() / 1e9
            if (yield from self._own_items(now)):
                continue
            yield from self._everything(now)
            self._own_first_until = self._fs.monotonic() + _OWN_FIRST
            self.passes_done += 1
            yield None

    def _own_items(self, now: float) -> Generator[Group, None, bool]:
        """The own bucket's groups, unless a full pass is due; return whether any had due recipients."""
        own = self._own_bucket()
        if own is None:
            return False
        fresh = own.fresh()
        if self._fs.monotonic() >= self._own_first_until:
            return False  # the listings show them too
        if fresh:  # due now, all recipients owed
            yield Group(own, True, True, fresh)
            return True
        found = False
        try:
            names = sorted(self._list(own.dir_fd))
        except OSError as error:
            self._cannot_read(own.name, error)
            return False
        for group in self._groups(NOW, own, names, now):
            if not self._own_first_until:
                return False  # an item that was returned before was gone: `report_missing`
            # the caller may not want bounces, and they must not hide the other buckets
            found |= group.has_due_recipients
            yield group
        return found

    def _everything(self, now: float) -> Iterator[Group]:
        names = self._fs.listdir(self._layout.fd["pending"])
        self.trouble = self._stopped_at = self._skipped = None
        found = [bucket for name in names if (bucket := parse_bucket(name))]
        due = [b for b in found if b.start <= now and self._host in (None, b.shard.rpartition("-")[0])]
        last: dict[tuple[str, str], int] = {}
        for bucket in due:
            key = bucket.period, bucket.shard
            last[key] = max(bucket.seq, last.get(key, 0))
        self._empty_since = {name: since for name, since in self._empty_since.items() if name in names}
        self._strays &= {*names}
        for bucket in _rotated(sorted(due), self._start):
            closed = bucket.seq < last[bucket.period, bucket.shard]
            yield from self._bucket(bucket, now, closed)

    def _bucket(self, bucket: Bucket, now: float, closed: bool) -> Iterator[Group]:
        try:
            opened = OpenBucket(
                self._fs, bucket.name, self._fs.open_dir(bucket.name, self._layout.fd["pending"])
            )
        except OSError as error:
            if not may_hold_items(self._fs, bucket.name, self._layout.fd["pending"]):
                self._note_stray(bucket.name)
            elif error.errno not in _REMOVED or bucket.name in self._fs.listdir(self._layout.fd["pending"]):
                self._cannot_read(bucket.name, error)
            return  # else it was removed since pending/ was listed
        try:
            names = self._list(opened.dir_fd)
        except OSError as error:
            self._cannot_read(bucket.name, error)
            return
        if names:
            self._empty_since.pop(bucket.name, None)
            yield from self._groups(bucket.period, opened, _rotated(sorted(names), self._start), now)
        else:
            self._note_empty(bucket.name, closed)

    def _note_stray(self, name: str) -> None:
        """Warn once: it stays until somebody removes it, and keeps nothing from being delivered."""
        if name not in self._strays:
            self._strays.add(name)
            log.warning("%s/pending/%s is no directory, and is ignored", self._layout.path, name)

    def _cannot_read(self, name: str, error: OSError) -> None:
        self.trouble = error
        log.warning("%s/pending/%s cannot be read, and is skipped: %s", self._layout.path, name, error)

    def _groups(
        self, when: str, bucket: OpenBucket | BucketTarget, names: list[str], now: float
    ) -> Iterator[Group]:
        """The items of a bucket of the period `when`, except those that are not due yet."""
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            items = [*filter(None, map(parse, some))]
            if len(items) < len(some):
                self._quarantine_absurd(bucket.dir_fd, some)
            groups: dict[tuple[bool, bool], list[Item]] = {}
            for item in items:
                due = item.not_before <= now
                ready = due or (when == NOW and has_report_due(item.states))
                if ready or period(item.not_before, now) != when:
                    owed = OWED in item.states and (due or not ready)
                    groups.setdefault((ready, owed), []).append(item)
            for (ready, owed), alike in groups.items():
                yield Group(bucket, ready, owed, alike)

    def _quarantine_absurd(self, dir_fd: int, names: list[str]) -> None:
        for name in filter(is_absurd, names):
            try:
                self._quarantine(dir_fd, name)
            except (OSError, TemporaryError) as error:
                self.trouble = error

    def _list(self, dir_fd: int) -> list[str]:
        """The names in a bucket; none if it was removed, since only empty buckets are removed."""
        try:
            return without_seals(self._fs, dir_fd, self._fs.listdir(dir_fd))
        except OSError as error:
            if error.errno in _REMOVED:
                return []
            raise

    def _note_empty(self, name: str, closed: bool) -> None:
        """Remove a bucket that has been empty for long enough; a process that needs it creates another."""
        now = self._fs.monotonic()
        since = self._empty_since.setdefault(name, now)
        if now - since >= (_CLOSED_EMPTY if closed else _EMPTY):
            try:
                self._fs.rmdir(name, self._layout.fd["pending"])
            except OSError:
                pass  # not empty after all, or another process was faster


def _rotated(things: list[T], start: int) -> list[T]:
    at = start % len(things) if things else 0
    return things[at:] + things[:at]
