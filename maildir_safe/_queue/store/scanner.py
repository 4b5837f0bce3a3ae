"""Finding what is due, without ever listing the whole queue.

A pass lists pending/ once and then the buckets that are due, one at a time, each worker starting
elsewhere so that many workers rarely want the same item. A pass ends; the next begins with a fresh
listing, so that no bucket is passed over for ever. Nothing here changes an item.

A process that puts as well looks into its own bucket first, where hardly anybody else is: what it
has put just now it knows, else it lists one directory instead of all, and loses no race. But a second
after a pass over everything has ended the next one is due, and it is finished before the own bucket
comes first again.
"""

from __future__ import annotations

import errno
from itertools import islice
from threading import Lock

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._queue.store.bucket import NOW, Bucket, parse as parse_bucket, period
from maildir_safe._queue.store.item import FAILED, OWED, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import TypeVar

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout
    from maildir_safe._queue.store.writer import BucketTarget

    T = TypeVar("T")

_CLOSED_EMPTY = 10.0  # seconds that a bucket which its writer has left is seen empty before it is removed
_OWN_FIRST = 1.0  # seconds after a pass over everything: a put is claimed within 2 s
_EMPTY = 900.0  # the same for any bucket: its writer leaves it after `writer.RETIRED_AFTER`
_AT_ONCE = 256  # names that are read together: who claims one need not read all of a bucket's
_REMOVED = (errno.ENOENT, errno.ESTALE)


class OpenBucket:
    """A bucket's descriptor, closed when the last group from it is let go."""

    def __init__(self, fs: FileSystem, dir_fd: int) -> None:
        self._fs = fs
        self.dir_fd = dir_fd

    def __del__(self) -> None:
        close_quietly(self._fs, self.dir_fd)


class Group:
    """Items of one bucket as a listing showed them, with all of which the same is to be done.

    Attributes:
        bucket: where they were.
        ready: they may be tried now; else they lie in too wide a bucket, and are to be filed again.
        owed: to somebody, and not only later; else only a sender is to be told.
        items: what their names say.
    """

    __slots__ = ("bucket", "items", "owed", "ready")

    def __init__(self, bucket: OpenBucket | BucketTarget, ready: bool, owed: bool, items: list[Item]) -> None:
        self.bucket = bucket
        self.ready = ready
        self.owed = owed
        self.items = items

    def part(self, items: list[Item]) -> Group:
        """Some of them."""
        return Group(self.bucket, self.ready, self.owed, items)


class Scanner:
    """Gives candidates, some at a time. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        start: any number; workers with different numbers begin at different places.
        host: only what this host has put; None: everybody's.
        own: gives the bucket that this process puts into now, None if it has not put anything.

    Attributes:
        rounds: how many passes over all buckets have ended.
    """

    def __init__(
        self,
        fs: FileSystem,
        layout: Layout,
        start: int,
        host: str | None,
        own: Callable[[], BucketTarget | None],
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._start = start
        self._host = host
        self._own = own
        self._own_first_until = 0.0
        self.rounds = 0
        self._lock = Lock()
        self._endless = self._passes()
        self._back: list[Group] = []
        self._empty_since: dict[str, float] = {}

    def some(self, limit: int, bounces: bool) -> Group | None:
        """The next candidates; None at the end of a pass, and the next call begins another.

        Args:
            limit: most to give.
            bounces: also items that are owed to nobody but whose sender must be told of a failure.

        Raises:
            OSError: pending/ or a bucket cannot be listed.
        """
        with self._lock:
            while (group := self._back.pop() if self._back else self._next()) is not None:
                if not (bounces or group.owed):
                    continue
                if len(group.items) <= limit:
                    return group
                part = group.part(group.items[:limit])
                del group.items[:limit]
                self._back.append(group)
                return part
            return None

    def again(self, group: Group) -> None:
        """Give these once more, before all others: they were not tried."""
        with self._lock:
            self._back.append(group)

    def lost(self, group: Group) -> None:
        """One of these was gone: others are here, or the listing was an old one, so look everywhere next."""
        with self._lock:
            self._own_first_until = 0.0
            if group.bucket is self._own():
                self._back = [other for other in self._back if other.bucket is not group.bucket]

    def _next(self) -> Group | None:
        try:
            return next(self._endless)
        except BaseException:  # it has ended with that
            self._endless = self._passes()
            raise

    def _passes(self) -> Iterator[Group | None]:
        """Pass after pass: over the own bucket, while that may come first, else over all and then None."""
        while True:
            now = self._fs.time_ns() / 1e9
            if (yield from self._own_items(now)):
                continue
            yield from self._everything(now)
            self._own_first_until = self._fs.monotonic() + _OWN_FIRST
            self.rounds += 1
            yield None

    def _own_items(self, now: float) -> Generator[Group, None, bool]:
        """The own bucket's, unless all are to be looked at now; whether there were any that are owed."""
        own = self._own()
        if own is None:
            return False
        fresh = own.fresh()
        if self._fs.monotonic() >= self._own_first_until:
            return False  # the listings show them too
        if fresh:  # due at once, and owed to all; a copy, since a put may be about to add to it
            yield Group(own, True, True, fresh[:])
            return True
        found = False
        for group in _groups(NOW, own, _items(sorted(self._list(own.dir_fd))), now):
            if not self._own_first_until:
                return False  # what was handed out before was gone
            # what is owed to nobody may not be wanted, and must not hide the rest
            found |= group.owed
            yield group
        return found

    def _everything(self, now: float) -> Iterator[Group]:
        names = self._fs.listdir(self._layout.fd["pending"])
        found = [bucket for name in names if (bucket := parse_bucket(name))]
        due = [b for b in found if b.start <= now and self._host in (None, b.shard.rpartition("-")[0])]
        last: dict[tuple[str, str], int] = {}
        for bucket in due:
            key = bucket.period, bucket.shard
            last[key] = max(bucket.seq, last.get(key, 0))
        self._empty_since = {name: since for name, since in self._empty_since.items() if name in names}
        for bucket in _rotated(sorted(due), self._start):
            closed = bucket.seq < last[bucket.period, bucket.shard]
            yield from self._bucket(bucket, now, closed)

    def _bucket(self, bucket: Bucket, now: float, closed: bool) -> Iterator[Group]:
        try:
            opened = OpenBucket(self._fs, self._fs.open_dir(bucket.name, self._layout.fd["pending"]))
        except OSError as error:
            if error.errno in _REMOVED:
                return  # since pending/ was listed
            raise
        names = self._list(opened.dir_fd)
        if names:
            self._empty_since.pop(bucket.name, None)
            items = _items(_rotated(sorted(names), self._start))
            yield from _groups(bucket.period, opened, items, now)
        else:
            self._note_empty(bucket.name, closed)

    def _list(self, dir_fd: int) -> list[str]:
        """The names in a bucket; none if it was removed, which only an empty one is."""
        try:
            return self._fs.listdir(dir_fd)
        except OSError as error:
            if error.errno in _REMOVED:
                return []
            raise

    def _note_empty(self, name: str, closed: bool) -> None:
        """Remove a bucket that has been seen empty for long enough; whoever still wants it makes another."""
        now = self._fs.monotonic()
        since = self._empty_since.setdefault(name, now)
        if now - since >= (_CLOSED_EMPTY if closed else _EMPTY):
            try:
                self._fs.rmdir(name, self._layout.fd["pending"])
            except OSError:
                pass  # not empty after all, or another was faster


def _groups(
    when: str, bucket: OpenBucket | BucketTarget, items: Iterable[Item], now: float
) -> Iterator[Group]:
    """The items of a bucket of the period `when`, without those that are only due later."""
    unread = iter(items)
    while some := list(islice(unread, _AT_ONCE)):
        groups: dict[tuple[bool, bool], list[Item]] = {}
        for item in some:
            due = item.not_before <= now
            ready = due or (FAILED in item.states and when == NOW)
            if ready or period(item.not_before, now) != when:
                owed = OWED in item.states and (due or not ready)
                groups.setdefault((ready, owed), []).append(item)
        for (ready, owed), alike in groups.items():
            yield Group(bucket, ready, owed, alike)


def _items(names: list[str]) -> Iterator[Item]:
    """Those that are items'."""
    return filter(None, map(parse, names))


def _rotated(things: list[T], start: int) -> list[T]:
    at = start % len(things) if things else 0
    return things[at:] + things[:at]
