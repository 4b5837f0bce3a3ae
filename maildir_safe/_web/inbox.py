"""What is in the Maildir now: kept fresh by polling, sorted by names alone.

inotify sees nothing that another host does on a network mount, so the directories are polled. A
listing gives all that the first page needs; only the messages that are shown are opened.
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
from maildir_safe._web.search import SEARCHED, Memory, folded, haystack, texts
from maildir_safe.errors import MaildirSafeError

T = TypeVar("T")

GONE = (KeyError, MaildirSafeError, OSError)
"""What reading a message raises that has gone, that the storage does not give, or that is a directory."""

_POLL = 1.0
_COARSEST = 2.5  # seconds; vfat keeps times in steps of 2
_REMEMBERED = 20_000
_REMEMBERED_LENGTH = 16 << 20
_REMEMBERED_GONE = 10_000
_SEARCH_SECONDS = 5.0
_MOST_READ = 64 << 20


class Closed(Exception):
    """The page is no longer served."""


class Inbox:
    """The messages of one Maildir, newest first.

    Args:
        maildir: what is shown.

    Attributes:
        version: goes up whenever a listing differs from the one before.
        unread: how many messages nobody has seen.
        latest: the key of the message that came last; ``""`` if none did.
    """

    def __init__(self, maildir: Maildir) -> None:
        self.maildir = maildir
        self.version = time.time_ns() // 1_000_000  # not what an earlier server told the same page
        self.unread = 0
        self.latest = ""
        self._newest: list[Message] = []
        self._sorted: list[tuple[tuple[float, str], Message]] = []
        self._by_key: dict[str, Message] = {}
        self._came: dict[str, int] = {}
        self._stamp = (-1, -1)
        self._stamped = 0.0
        self._stable = False
        self._summaries: Memory[Summary] = Memory(_REMEMBERED, _REMEMBERED_LENGTH, lambda s: s.length + 200)
        self._texts = texts()
        self._refreshing = asyncio.Lock()
        self._looked = float("-inf")
        self._took = 0.0
        self._closing = asyncio.Event()
        self._few = asyncio.Semaphore(2)

    async def messages(self, age: float = 0.0) -> list[Message]:
        """All messages, as a look at the Maildir shows them now, or showed them `age` seconds ago."""
        async with self._refreshing:
            start = time.monotonic()
            if start - self._looked >= age:
                await asyncio.to_thread(self.refresh)
                self._looked = time.monotonic()
                self._took = self._looked - start
        return self._newest

    async def changed(self, version: int) -> int:
        """Wait until the Maildir differs from what it was at `version`; its version now.

        However many wait, they look about once in `_POLL` seconds together, and less often at a
        Maildir so large that looking would take more than a fifth of the time.

        Raises:
            TemporaryError: it cannot be listed. Closed: by `close`, wait no longer.
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
        """End the waiting of all who wait for a change."""
        self._closing.set()

    def refresh(self) -> None:
        """List the Maildir, if it may have changed.

        Its directories' times alone tell that it has not, but only when they were seen unchanged for
        longer than the coarsest step of time that a file system has.

        Raises:
            TemporaryError: it cannot be listed.
        """
        now, stamp = time.monotonic(), self.maildir.stamp()
        if stamp != self._stamp:
            self._stamp, self._stamped, self._stable = stamp, now, False
        if self._stable:
            return
        self._list()
        self._stable = now - self._stamped > _COARSEST

    def _list(self) -> None:
        """Take in what has come and gone since the last look; the others stay sorted as they are."""
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
        """List anew when next asked: something was changed through this page."""
        self._stable = False

    async def find(self, key: str) -> Message:
        """The message with this key, as `printable` gave it; KeyError if there is none."""
        await self.messages()
        return self._by_key[key]

    def knows(self, key: str) -> bool:
        """Whether `is_newer` can tell what came after this key: it was here, or its name has a time."""
        return key in self._came or received(key) > 0

    def is_newer(self, key: str, than: str) -> bool:
        """Whether a message came after another.

        Listings tell the order in which messages came, whatever the clock did meanwhile; of two that
        one listing showed first, their names.
        """
        this, that = self._came.get(key), self._came.get(than)
        if this is not None and that is not None and this != that:
            return this > that
        return order(key) > order(than)

    def read(self, key: str, limit: int = -1) -> bytes:
        """A message, or its first `limit` bytes; KeyError if it has gone."""
        with self.maildir.open(key) as file:
            return file.read(limit)

    async def apart(self, key: str, how: Callable[[bytes], T]) -> T:
        """What `how` makes of a message's bytes.

        Beside the event loop, and few at a time: taking 25 MiB apart needs a second and 200 MiB.
        """
        return await self.slowly(lambda: how(self.read(key, _MOST_READ)))

    async def slowly(self, what: Callable[[], T]) -> T:
        """Do what may take seconds beside the event loop; two at a time."""
        async with self._few:
            return await asyncio.to_thread(what)

    def summary(self, message: Message) -> Summary | None:
        """Who wrote to whom about what; read once, then remembered. None if it cannot be read now."""
        known = self._summaries.get(message.key)
        if known is not None:
            return known
        try:
            with self.maildir.open(message.key) as file:
                known = summarize(read_head(file))
        except GONE:
            return None
        self._summaries.put(message.key, known)
        return known

    def search(self, words: str, seconds: float | None = _SEARCH_SECONDS) -> tuple[list[Message], bool]:
        """The messages that have all the words, newest first, and whether time sufficed to look at all.

        Args:
            words: separated by white space.
            seconds: stop then; None looks at all, however long it takes.
        """
        wanted = folded(words).split()
        found: list[Message] = []
        until = time.monotonic() + (float("inf") if seconds is None else seconds)
        for message in self._newest:
            if time.monotonic() > until:
                return found, False
            text = self._text(message)
            if text is not None and all(word in text for word in wanted):
                found.append(message)
        return found, True

    def _text(self, message: Message) -> str | None:
        known = self._texts.get(message.key)
        if known is not None:
            return known
        try:
            text = haystack(self.read(message.key, SEARCHED))
        except GONE:
            return None
        self._texts.put(message.key, text)
        return text

    async def discard(self, search: str, upto: str) -> tuple[int, int]:
        """Remove what a search finds, or everything; how many were removed, and how many could not be.

        Args:
            search: words; ``""`` for everything.
            upto: the key of the newest message that was shown: what came later stays. ``""`` for all.
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
            return await self.slowly(remove)
        finally:
            self.forget()


def is_unread(message: Message) -> bool:
    """Whether nobody has seen it."""
    return message.subdir == "new" or "S" not in message.flags


def order(key: str) -> tuple[float, str]:
    """Messages sorted by this are in the order in which their names say that they were delivered."""
    return received(key), key


def received(key: str) -> float:
    """Seconds since 1970 at which a message was delivered, from its name; 0 for a foreign name.

    At most ten digits: to the year 2286, and never a date that cannot be shown.
    """
    seconds, micros = arrival_time(key) or (0, 0)
    if seconds >= 10**10:
        return 0.0
    return seconds + (micros / 1e6 if micros < 10**6 else 0.0)


def printable(name: str) -> str:
    """A file name that is not UTF-8 (a foreign message's, a path's) as one that can be sent to a browser."""
    return name.encode("utf-8", "backslashreplace").decode()
