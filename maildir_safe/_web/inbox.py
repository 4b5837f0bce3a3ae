"""The current list of the Maildir's messages, kept fresh by polling and sorted by file names alone.

The directories are polled because inotify does not see changes by other hosts on a network mount.
A listing is enough to sort the messages; only messages that are shown are opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from operator import itemgetter
from typing import TypeVar

from maildir_safe._mail.summary import Summary, read_head, summarize
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._maildir.message_store import Message
from maildir_safe._names import arrival_time
from maildir_safe._web.search import BoundedCache, folded, haystack, texts
from maildir_safe.errors import MaildirSafeError

T = TypeVar("T")

UNREADABLE = (KeyError, MaildirSafeError, OSError)
"""Errors of reading a message that is gone, that the storage cannot deliver, or that is a directory."""

_POLL = 1.0
_COARSEST = 2.5  # seconds; vfat keeps times in steps of 2
_REMEMBERED = 20_000
_REMEMBERED_LENGTH = 16 << 20
_REMEMBERED_GONE = 10_000
_SEARCH_SECONDS = 5.0
MOST_READ = 64 << 20
"""Most bytes of a message, from its beginning, that are read to show it or to search it."""


class Closed(Exception):
    """The page is no longer served."""


class Inbox:
    """The messages of one Maildir, newest first.

    Args:
        maildir: the Maildir to show.

    Attributes:
        version: increases whenever a listing differs from the previous one.
        unread: number of messages without the flag "seen".
        latest: key of the message that arrived last; ``""`` before the first.
        when_gone: called with the key of each message that is gone, in the thread that lists.
    """

    def __init__(self, maildir: Maildir) -> None:
        self.maildir = maildir
        self.version = time.time_ns() // 1_000_000  # differs from the versions of an earlier server
        self.unread = 0
        self.latest = ""
        self.when_gone: list[Callable[[str], None]] = []
        self._newest: list[Message] = []
        self._sorted: list[tuple[tuple[float, str], Message]] = []
        self._by_key: dict[str, Message] = {}
        self._came: dict[str, int] = {}
        self._stamp = (-1, -1)
        self._stamped = 0.0
        self._stable = False
        self._summaries: BoundedCache[Summary] = BoundedCache(
            _REMEMBERED, _REMEMBERED_LENGTH, lambda s: s.length + 200
        )
        self._texts = texts()
        self._refreshing = asyncio.Lock()
        self._looked = float("-inf")
        self._took = 0.0
        self._closing = asyncio.Event()
        self._heavy = asyncio.Semaphore(2)

    async def messages(self, age: float = 0.0) -> list[Message]:
        """All messages, by a listing that is at most `age` seconds old."""
        async with self._refreshing:
            start = time.monotonic()
            if start - self._looked >= age:
                await asyncio.to_thread(self.refresh)
                self._looked = time.monotonic()
                self._took = self._looked - start
        return self._newest

    async def changed(self, version: int) -> int:
        """Wait until the version of the Maildir is no longer `version`; return the new version.

        All waiting callers together cause about one listing per `_POLL` seconds. A large Maildir is
        listed less often, so that listing takes at most a fifth of the time.

        Raises:
            TemporaryError: the Maildir cannot be listed. Closed: `close` was called.
        """
        while not self._closing.is_set():
            pause = max(_POLL, 4 * self._took)
            await self.messages(pause * 0.9)
            if self.version != version:
                return self.version
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
        raise Closed

    def close(self) -> None:
        """End every `changed` that waits."""
        self._closing.set()

    def refresh(self) -> None:
        """List the Maildir if it may have changed.

        Unchanged times of its directories show that it has not, once they have been unchanged for
        longer than the coarsest timestamp resolution of any file system.

        Raises:
            TemporaryError: the Maildir cannot be listed.
        """
        now, stamp = time.monotonic(), self.maildir.stamp()
        if stamp != self._stamp:
            self._stamp, self._stamped, self._stable = stamp, now, False
        if self._stable:
            return
        self._list()
        self._stable = now - self._stamped > _COARSEST

    def _list(self) -> None:
        """List the Maildir, and apply what has changed since the last listing."""
        found, known = set(self.maildir.messages()), set(self._newest)
        come, gone = found - known, known - found
        if not come and not gone:
            return
        for message in gone:
            self._by_key.pop(printable(message.key), None)
        arrived = {printable(message.key): message for message in come}
        self._by_key |= arrived
        for message in gone:
            if printable(message.key) not in self._by_key:
                self._summaries.forget(message.key)
                self._texts.forget(message.key)
                for forget in self.when_gone:
                    forget(message.key)
        if gone:
            self._sorted = [entry for entry in self._sorted if entry[1] not in gone]
        self._sorted += [(order(message.key), message) for message in come]
        self._sorted.sort(key=itemgetter(0), reverse=True)
        self._newest = [message for _, message in self._sorted]
        self.unread += sum(map(is_unread, come)) - sum(map(is_unread, gone))
        self.version += 1
        fresh = dict.fromkeys(arrived.keys() - self._came.keys(), self.version)
        self._came |= fresh
        self.latest = next(
            (key for message in self._newest if (key := printable(message.key)) in fresh), self.latest
        )
        if len(self._came) > 2 * len(self._by_key) + _REMEMBERED_GONE:
            for key in [key for key in self._came if key not in self._by_key][:-_REMEMBERED_GONE]:
                del self._came[key]

    def forget(self) -> None:
        """List again on the next request: this page has changed something."""
        self._stable = False

    async def find(self, key: str) -> Message:
        """The message with this key, in the form of `printable`. Raises KeyError if there is none."""
        await self.messages()
        return self._by_key[key]

    def has(self, key: str) -> bool:
        """Whether the last listing showed this message; the key is in the form of `printable`."""
        return key in self._by_key

    def knows(self, key: str) -> bool:
        """Whether `is_newer` can compare with this key: the message was here, or its name has a time."""
        return key in self._came or received(key) > 0

    def is_newer(self, key: str, than: str) -> bool:
        """Whether a message arrived after another.

        The listings in which the messages first appeared give the order, independent of the clock. If
        both first appeared in the same listing, their names give it.
        """
        this, that = self._came.get(key), self._came.get(than)
        if this is not None and that is not None and this != that:
            return this > that
        return order(key) > order(than)

    def read(self, key: str, limit: int = -1) -> bytes:
        """Read a message, or its first `limit` bytes. Raises KeyError if it is gone."""
        with self.maildir.open(key) as file:
            return file.read(limit)

    async def parse(self, key: str, how: Callable[[bytes], T]) -> T:
        """Apply `how` to a message's bytes, by `run_heavy`: parsing 25 MiB takes a second and 200 MiB."""
        return await self.run_heavy(lambda: how(self.read(key, MOST_READ)))

    async def run_heavy(self, what: Callable[[], T]) -> T:
        """Run `what`, which may take seconds, in a thread; at most two at a time."""
        async with self._heavy:
            return await asyncio.to_thread(what)

    def summary(self, message: Message) -> Summary | None:
        """The summary of a message: read once, then remembered. None if the message cannot be read now."""
        known = self._summaries.get(message.key)
        if known is not None:
            return known
        try:
            with self.maildir.open(message.key) as file:
                known = summarize(read_head(file))
        except UNREADABLE:
            return None
        self._summaries.put(message.key, known)
        return known

    def search(self, words: str, seconds: float | None = _SEARCH_SECONDS) -> tuple[list[Message], bool]:
        """Find the messages that contain all of the words.

        Args:
            words: words, separated by white space.
            seconds: time after which the search stops; None: no limit.

        Returns:
            The messages found, newest first; and whether all messages were searched.
        """
        wanted = folded(words).split()
        found: list[Message] = []
        until = time.monotonic() + (float("inf") if seconds is None else seconds)
        for message in self._newest:
            if time.monotonic() > until:
                return found, False
            text = self.text(message)
            if text is not None and all(word in text for word in wanted):
                found.append(message)
        return found, True

    def text(self, message: Message) -> str | None:
        """The text that a search looks at, folded: read once, then remembered. None if it cannot be read."""
        known = self._texts.get(message.key)
        if known is not None:
            return known
        try:
            text = haystack(self.read(message.key, MOST_READ))
        except UNREADABLE:
            return None
        self._texts.put(message.key, text)
        return text

    async def discard(self, search: str, upto: str) -> tuple[int, int]:
        """Remove the messages that a search finds, or all messages.

        Args:
            search: words; ``""``: all messages.
            upto: the key of the newest message that was shown; later messages stay. ``""``: no limit.

        Returns:
            The number of messages removed, and the number that could not be removed.
        """
        messages = await self.messages()

        def remove() -> tuple[int, int]:
            found = self.search(search, None)[0] if search.strip() else messages
            removed = failed = 0
            for message in found:
                if upto and self.is_newer(printable(message.key), upto):
                    continue
                try:
                    removed += self.maildir.discard(message.key)
                except (MaildirSafeError, OSError):
                    failed += 1
            return removed, failed

        try:
            return await self.run_heavy(remove)
        finally:
            self.forget()


def is_unread(message: Message) -> bool:
    """Whether the message is unread: it is in new/, or lacks the flag "seen"."""
    return message.subdir == "new" or "S" not in message.flags


def order(key: str) -> tuple[float, str]:
    """A sort key: the order of delivery, according to the times in the names."""
    return received(key), key


def received(key: str) -> float:
    """The time of delivery in the message's name, in seconds since 1970; 0 if the name has none.

    Times have at most ten digits, that is up to the year 2286, so every one is a valid date.
    """
    seconds, micros = arrival_time(key) or (0, 0)
    if seconds >= 10**10:
        return 0.0
    return seconds + (micros / 1e6 if micros < 10**6 else 0.0)


def printable(name: str) -> str:
    """Make a file name or path printable: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
