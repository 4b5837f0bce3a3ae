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
from itertools import chain
from threading import Lock

from maildir_safe.handoff import close_quietly
from maildir_safe.queue.bucket import NOW, Bucket, parse as parse_bucket, period
from maildir_safe.queue.item import FAILED, OWED, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from maildir_safe.fs import FileSystem
    from maildir_safe.queue.item import Item
    from maildir_safe.queue.layout import Layout
    from maildir_safe.queue.writer import Target

    T = TypeVar("T")

    Candidate = tuple[Item, "OpenBucket | Target", bool, bool]
    """An item as a listing showed it: what its name says; the bucket it was in; whether it is ready,
    that is, may be tried now, else it only lies in too wide a bucket and is to be filed again; whether
    it is owed to somebody, and not only later, else only a sender is to be told."""

_CLOSED_EMPTY = 10.0  # seconds that a bucket which its writer has left is seen empty before it is removed
_OWN_FIRST = 1.0  # seconds after a pass over everything; "a put is claimed within 2 s" (DESIGN.md section 6)
_EMPTY = 900.0  # the same for any bucket: its writer leaves it after `writer.RETIRED_AFTER`
_REMOVED = (errno.ENOENT, errno.ESTALE)


class OpenBucket:
    """A bucket's descriptor, closed when the last candidate from it is let go."""

    def __init__(self, fs: FileSystem, dir_fd: int) -> None:
        self._fs = fs
        self.dir_fd = dir_fd

    def __del__(self) -> None:
        close_quietly(self._fs, self.dir_fd)


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
        self, fs: FileSystem, layout: Layout, start: int, host: str | None, own: Callable[[], Target | None]
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._start = start
        self._host = host
        self._own = own
        self._own_first_until = 0.0
        self.rounds = 0
        self._lock = Lock()
        self._passing: Iterator[Candidate] = iter(())
        self._back: list[Candidate] = []
        self._empty_since: dict[str, float] = {}

    def some(self, limit: int, bounces: bool) -> list[Candidate]:
        """The next candidates of one bucket, all ready or none; none at the end of a pass.

        The next call after that begins another.

        Args:
            limit: most to give.
            bounces: also items that are owed to nobody but whose sender must be told of a failure.

        Raises:
            OSError: pending/ or a bucket cannot be listed.
        """
        with self._lock:
            found: list[Candidate] = []
            try:
                for candidate in chain(_popped(self._back), self._passing):
                    _, bucket, ready, owed = candidate
                    if not (bounces or owed):
                        continue
                    if found and (bucket, ready) != found[0][1:3]:
                        self._back.append(candidate)
                        return found
                    found.append(candidate)
                    if len(found) == limit:
                        return found
            except BaseException as error:
                self._passing = self._pass()
                if not (found and isinstance(error, OSError)):  # else the next pass meets it again
                    raise
            else:
                self._passing = self._pass()
            return found

    def again(self, candidates: list[Candidate]) -> None:
        """Give these once more, before all others: they were not tried."""
        with self._lock:
            self._back += reversed(candidates)

    def lost(self) -> None:
        """A candidate was gone: others are here, or the listing was an old one, so look everywhere next."""
        self._own_first_until = 0.0

    def _pass(self) -> Iterator[Candidate]:
        now = self._fs.time_ns() / 1e9
        own = self._own()
        if own is not None and self._fs.monotonic() < self._own_first_until:
            found = False
            items = own.fresh() or _items(sorted(self._list(own.dir_fd)))
            for candidate in self._candidates(NOW, own, items, now):
                if not self._own_first_until:
                    return  # what was handed out before was gone
                _, _, _, owed = candidate
                found |= owed  # what is owed to nobody may not be wanted, and must not hide the rest
                yield candidate
            if found:
                return
        if own is not None:
            own.fresh()  # the listings show them too
        yield from self._everything(now)
        self._own_first_until = self._fs.monotonic() + _OWN_FIRST
        self.rounds += 1

    def _everything(self, now: float) -> Iterator[Candidate]:
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

    def _bucket(self, bucket: Bucket, now: float, closed: bool) -> Iterator[Candidate]:
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
            yield from self._candidates(bucket.period, opened, items, now)
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

    def _candidates(
        self, when: str, bucket: OpenBucket | Target, items: Iterable[Item], now: float
    ) -> Iterator[Candidate]:
        for item in items:
            due = item.not_before <= now
            ready = due or (FAILED in item.states and when == NOW)
            if ready or period(item.not_before, now) != when:
                yield item, bucket, ready, OWED in item.states and (due or not ready)

    def _note_empty(self, name: str, closed: bool) -> None:
        """Remove a bucket that has been seen empty for long enough; whoever still wants it makes another."""
        now = self._fs.monotonic()
        since = self._empty_since.setdefault(name, now)
        if now - since >= (_CLOSED_EMPTY if closed else _EMPTY):
            try:
                self._fs.rmdir(name, self._layout.fd["pending"])
            except OSError:
                pass  # not empty after all, or another was faster


def _popped(things: list[T]) -> Iterator[T]:
    while things:
        yield things.pop()


def _items(names: list[str]) -> Iterator[Item]:
    """Those that are items'."""
    return filter(None, map(parse, names))


def _rotated(things: list[T], start: int) -> list[T]:
    at = start % len(things) if things else 0
    return things[at:] + things[:at]
