"""Fills the index of a large inbox while the server is idle: small batches, and at most half of the time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable

from maildir_safe._mail.everything import read_everything
from maildir_safe._web.inbox import MOST_READ, UNREADABLE, Closed, Inbox
from maildir_safe._web.index import Document, SearchIndex, index_path
from maildir_safe._web.mailpit_entries import read_entry
from maildir_safe._web.messages import Messages
from maildir_safe._web.placed import Placed
from maildir_safe._web.search import folded, haystack_of
from maildir_safe.errors import MaildirSafeError

WORTH = 1000
"""From so many messages on there is an index; the texts of fewer are soon read."""
_BATCH = 0.1
_PAUSE = 0.02
_BUSY = 0.5
_LATER = 30.0
_FIRST = 2.0  # whoever waits for the first page comes before the index


class Filler:
    """Compares an index with the listing, one batch after another. Its methods block, one call at a time.

    Args:
        inbox: the messages.
        index: their index.
    """

    def __init__(self, inbox: Inbox, index: SearchIndex) -> None:
        self._inbox, self._index = inbox, index
        self._version = -1
        self._left_out: set[str] = set()
        self._waiting: list[str] = []
        self._gone: list[str] = []

    def step(self) -> bool:
        """Do one batch; False: nothing is left to do until the listing changes."""
        everything = self._inbox.everything
        if self._version != everything.version:
            self._version = everything.version
            self._plan(everything.messages)
        until = time.monotonic() + _BATCH
        if self._gone:
            some, self._gone = self._gone[:200], self._gone[200:]
            self._index.remove(some)
            return True
        documents: list[Document] = []
        length = 0
        while self._waiting and time.monotonic() < until and length < 1 << 20:
            message = self._inbox.everything.messages.get(self._waiting.pop())
            if message is None:
                continue
            try:
                stamp = self._inbox.maildir.stamp_of(message)
            except UNREADABLE:
                continue
            if self._index.confirm(message.key, stamp):
                continue
            self._left_out.add(message.key)  # unless it is added
            document = self._document(message, stamp)
            if document is not None:
                documents.append(document)
                length += len(document.text)
        if documents and not self._index.add(documents):
            self._waiting = []
        self._left_out -= self._index.rows.keys() & {one.key for one in documents}
        return bool(self._waiting)

    def _plan(self, messages: Messages) -> None:
        rows, stored = self._index.rows, self._index.stored
        here = set(messages.ids)
        self._left_out &= here
        self._gone = [key for key in (*rows, *stored) if key not in here]
        known = rows.keys() | self._left_out
        self._waiting = [key for key in reversed(messages.ids) if key not in known]

    def _document(self, message: Placed, stamp: tuple[int, int]) -> Document | None:
        try:
            mail = read_everything(self._inbox.read(message.key, MOST_READ))
        except UNREADABLE:
            return None
        entry = read_entry(mail)
        counts = (entry.attachments, entry.inlines)
        return Document(message.key, stamp, haystack_of(mail), folded(mail.body), entry.searched, *counts)


async def keep_filling(inbox: Inbox, work: Callable[[], int]) -> None:
    """Open the index once the inbox is large, and fill it. Ends when the inbox is closed.

    Args:
        inbox: the messages.
        work: a count that grows while the server does something else; the index then waits a moment.
    """
    filler: Filler | None = None
    done = work()
    with contextlib.suppress(Closed):
        await inbox.rest(_FIRST)
        while True:
            with contextlib.suppress(MaildirSafeError):
                await inbox.messages(_LATER)
            if filler is None and len(inbox.everything.messages) >= WORTH:
                try:
                    inbox.index = await asyncio.to_thread(_open, inbox)
                except (OSError, RuntimeError, sqlite3.Error):
                    return
                filler = Filler(inbox, inbox.index)
            started = time.monotonic()
            more = filler is not None and await asyncio.to_thread(filler.step)
            took = time.monotonic() - started
            done, before = work(), done
            if done != before:
                await inbox.rest(_BUSY)
            elif more:
                await inbox.rest(max(_PAUSE, took))
            else:
                await inbox.rest(_LATER)
    if inbox.index:
        inbox.index.close()


def _open(inbox: Inbox) -> SearchIndex:
    return SearchIndex(index_path(inbox.maildir.path))
