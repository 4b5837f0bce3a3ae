"""The current list of the mailboxes' messages, kept fresh by polling and sorted by file names alone.

The directories are polled because inotify does not see changes by other hosts on a network mount.
A listing is enough to sort the messages; only messages that are shown are opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection as Keys
from itertools import chain
from typing import TypeVar

from maildir_safe._mail.summary import Summary, read_head, summarize
from maildir_safe._maildir.message_store import Message
from maildir_safe._web.box import Box
from maildir_safe._web.index import Answer, Needle, SearchIndex
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe._web.messages import Messages, narrowed, together
from maildir_safe._web.ordering import arranged, newest_first, order, printable, received
from maildir_safe._web.placed import Changes, Placed
from maildir_safe._web.search import BoundedCache, folded, has_all, haystack, texts
from maildir_safe.errors import MaildirSafeError

T = TypeVar("T")

UNREADABLE = (KeyError, MaildirSafeError, OSError)
"""Errors of reading a message that is gone, that the storage cannot deliver, or that is a directory."""

_POLL = 1.0
_REMEMBERED = 20_000
_REMEMBERED_LENGTH = 16 << 20
_REMEMBERED_GONE = 10_000
_SEARCH_SECONDS = 5.0
DISCARD_SECONDS = 60.0
"""Seconds for which a search looks for the messages that are to be removed."""
MOST_READ = 64 << 20
"""Most bytes of a message, from its beginning, that are read to show it or to search it."""


class Closed(Exception):
    """The page is no longer served."""


class NoSuchBox(KeyError):
    """There is no mailbox of this name."""


class Inbox:
    """The messages of one mailbox or several, newest first.

    Args:
        maildir: the mailboxes to show.

    Attributes:
        everything: the messages of all mailboxes.
        when_gone: called with the key of each message that is gone, in the thread that lists.
        when_changed: called there with what a listing changed, mailbox by mailbox.
        index: finds words without reading the messages; None: every message is read.
    """

    def __init__(self, maildir: MailboxSet) -> None:
        self.maildir = maildir
        self.everything = Box("")
        self.everything.version = self._version = time.time_ns() // 1_000_000  # differs from earlier servers'
        self.when_gone: list[Callable[[str], None]] = []
        self.when_changed: list[Callable[[list[Changes]], None]] = []
        self.index: SearchIndex | None = None
        self._boxes: dict[str, Box] = {}
        self._odd: dict[str, str] = {}
        self._came: dict[str, int] = {}
        self._first = 0
        self._forced = False
        self._summaries: BoundedCache[Summary] = BoundedCache(
            _REMEMBERED, _REMEMBERED_LENGTH, lambda s: s.length + 200
        )
        self._texts = texts()
        self._refreshing = asyncio.Lock()
        self._looked = float("-inf")
        self._took = 0.0
        self._closing = asyncio.Event()
        self._heavy = asyncio.Semaphore(2)

    async def messages(self, age: float = 0.0, box: Box | None = None) -> Messages:
        """The messages of a mailbox, or all messages, by a listing that is at most `age` seconds old."""
        async with self._refreshing:
            start = time.monotonic()
            if start - self._looked >= age:
                await asyncio.to_thread(self.refresh)
                self._looked = time.monotonic()
                self._took = self._looked - start
        return (box or self.everything).messages

    async def box(self, name: str) -> Box:
        """The mailbox with this name; ``""``: all together.

        Raises:
            KeyError: there is none. TemporaryError: it cannot be listed.
        """
        if not name:
            return self.everything
        for fresh in (False, True):
            if fresh:
                await self.messages()
            found = self._boxes.get(name) or self._boxes.get(name.lower())
            if found is not None:
                return found
        raise NoSuchBox(name)

    @property
    def boxes(self) -> list[Box]:
        """The mailboxes of the last listing, each before its folders."""
        return [*self._boxes.values()]

    async def changed(self, version: int) -> int:
        """Wait until the version of the inbox is no longer `version`; return the new version.

        All waiting callers together cause about one listing per `_POLL` seconds. A large Maildir is
        listed less often, so that listing takes at most a fifth of the time.

        Raises:
            TemporaryError: the Maildir cannot be listed. Closed: `close` was called.
        """
        while not self._closing.is_set():
            pause = max(_POLL, 4 * self._took)
            await self.messages(pause * 0.9)
            if self.everything.version != version:
                return self.everything.version
            await self.rest(pause)
        raise Closed

    async def rest(self, seconds: float) -> None:
        """Wait. Raises Closed if `close` was called."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
            raise Closed

    def close(self) -> None:
        """End every `changed` that waits."""
        self._closing.set()

    def refresh(self) -> None:
        """List what may have changed, and apply what has. Raises TemporaryError: it cannot be listed."""
        forced, self._forced = self._forced, False
        try:
            if self.maildir.refresh(forced):
                self._apply()
        except MaildirSafeError:
            self._forced = forced
            raise

    def _apply(self) -> None:
        """Apply what has changed since the last listing."""
        names = self.maildir.names
        new, gone_boxes = {*names} - self._boxes.keys(), self._boxes.keys() - {*names}
        changes = self.maildir.take_changes()
        if not (changes or new or gone_boxes):
            return
        self._version += 1
        self._first = self._first or self._version
        for name in gone_boxes:
            self._boxes[name].version = self._version
        self._boxes = {name: self._boxes.get(name) or Box(name) for name in names}
        come = {name: self._fresh(one.come) for name, one in changes.items()}
        self._share({*changes, *new}, changes, come)
        for one in changes.values():
            for key in one.gone:
                self._lose(key)
        for tell in self.when_changed:
            tell([*changes.values()])
        if len(self._came) > 2 * len(self.everything.messages) + _REMEMBERED_GONE:
            for key in [key for key in self._came if not self.has(key)][:-_REMEMBERED_GONE]:
                del self._came[key]

    def _fresh(self, come: set[str]) -> Keys[str]:
        """Remember when messages came; return those that were not here before."""
        if not "".join(come).isascii():
            self._odd |= {shown: key for key in come if (shown := printable(key)) != key}
        if self._version == self._first:
            return come
        fresh = [key for key in come if printable(key) not in self._came]
        self._came |= dict.fromkeys(map(printable, fresh), self._version)
        return fresh

    def _lose(self, key: str) -> None:
        """Forget what was read of a message that is gone, and remember when it came."""
        shown = printable(key)
        self._odd.pop(shown, None)
        self._came.setdefault(shown, self._first)
        self._summaries.forget(key)
        self._texts.forget(key)
        for forget in self.when_gone:
            forget(key)

    def _share(self, touched: Keys[str], changes: dict[str, Changes], fresh: dict[str, Keys[str]]) -> None:
        """Give each mailbox that has changed its messages, and all of them to `everything`."""
        parts = {name: self.maildir.part(name) for name in self._boxes}
        come = [*chain.from_iterable(one.come for one in changes.values())]
        gone = set[str]().union(*(one.gone for one in changes.values()))
        newest = Messages(arranged(self.everything.messages.ids, come, gone), together(parts.values()))
        new_ones = [*chain.from_iterable(fresh.values())]
        unread = {name: part.unread for name, part in parts.items()}
        self.everything.show(newest, self._version, new_ones, sum(unread.values()))
        for name in touched & self._boxes.keys():
            box, one = self._boxes[name], changes.get(name) or Changes()
            ids = newest.ids if len(parts) == 1 else arranged(box.messages.ids, one.come, one.gone)
            shown = Messages(ids, together([parts[name]]))
            box.show(shown, self._version, fresh.get(name, ()), unread[name])

    def forget(self) -> None:
        """List again on the next request: this page has changed something."""
        self._forced = True

    async def find(self, key: str) -> Placed:
        """The message with this key, in the form of `printable`. Raises KeyError if there is none."""
        await self.messages()
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str) -> Placed | None:
        """The message with this key in the last listing; the key is in the form of `printable`."""
        return self.everything.messages.get(self._odd.get(key, key))

    def has(self, key: str) -> bool:
        """Whether the last listing showed this message; the key is in the form of `printable`."""
        return self.get(key) is not None

    def knows(self, key: str) -> bool:
        """Whether `is_newer` can compare with this key: the message was here, or its name has a time."""
        return self._arrival(key) is not None or received(key) > 0

    def is_newer(self, key: str, than: str) -> bool:
        """Whether a message arrived after another.

        The listings in which the messages first appeared give the order, independent of the clock. If
        both first appeared in the same listing, their names give it.
        """
        this, that = self._arrival(key), self._arrival(than)
        if this is not None and that is not None and this != that:
            return this > that
        return order(key) > order(than)

    def _arrival(self, key: str) -> int | None:
        """The version of the listing in which a message first appeared."""
        return self._came.get(key) or (self._first if self.has(key) else None)

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

    def search(
        self, messages: Messages, words: str, seconds: float = _SEARCH_SECONDS
    ) -> tuple[Messages, bool]:
        """Find the messages that contain all of the words.

        Args:
            messages: the messages to search.
            words: words, separated by white space; those in `CONDITIONS` are conditions.
            seconds: time after which the search stops, also within a message.

        Returns:
            The messages found, newest first; and whether all messages were searched.
        """
        messages, wanted = narrowed(messages, [*dict.fromkeys(folded(words).split())])
        if not wanted:
            return messages, True
        until = time.monotonic() + seconds
        answer = self.ask([Needle("text", word) for word in wanted])
        if answer is None:
            found, complete = self._read_through(messages, wanted, until)
            return messages.of(found), complete
        known, left = answer.found(messages.ids)
        if not left:
            return messages.of(known), True
        read, complete = self._read_through(messages.of(left), wanted, until)
        return messages.of(newest_first([*known, *read]) if read else known), complete

    def _read_through(self, messages: Messages, wanted: list[str], until: float) -> tuple[list[str], bool]:
        """The ids of the messages whose text has all words, and whether there was time for all."""
        complete, found = True, list[str]()
        for message in messages:
            if time.monotonic() > until:
                return found, False
            text = self.text(message)
            has = text is not None and has_all(text, wanted, until)
            if has is None:
                complete = False
            elif has:
                found.append(message.key)
        return found, complete

    def ask(self, needles: list[Needle]) -> Answer | None:
        """Ask the index; None: there is none, or it does not know. Messages without a row must be read."""
        return self.index.ask(needles, _SEARCH_SECONDS) if self.index and needles else None

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

    def chosen(self, messages: Messages, search: str, upto: str) -> tuple[Messages, str]:
        """The messages that a search finds, or all (``""``), without those that arrived after `upto`.

        Also why these may not be all; ``""``: they are all.
        """
        found, complete = messages, True
        if search.strip():
            found, complete = self.search(messages, search, DISCARD_SECONDS)
        chosen = found.of([key for key in found.ids if not (upto and self.is_newer(printable(key), upto))])
        return chosen, "" if complete else f"the search was cut after {DISCARD_SECONDS:g} s; try again"

    async def discard(self, box: Box, search: str, upto: str) -> tuple[int, str]:
        """Remove the messages of a mailbox that a search finds, or all its messages.

        Args:
            box: the mailbox.
            search: words; ``""``: all messages.
            upto: the key of the newest message that was shown; later messages stay. ``""``: no limit.

        Returns:
            The number of messages removed, and why that may not be all; ``""``: it is all.
        """
        messages = await self.messages(box=box)

        def remove() -> tuple[int, str]:
            found, trouble = self.chosen(messages, search, upto)
            removed = failed = 0
            for message in found:
                try:
                    removed += self.maildir.discard(message.key)
                except (MaildirSafeError, OSError):
                    failed += 1
            return removed, f"{failed} messages could not be removed" if failed else trouble

        try:
            return await self.run_heavy(remove)
        finally:
            self.forget()
