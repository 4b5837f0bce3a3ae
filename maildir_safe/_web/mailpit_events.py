"""Mailpit's events, by websocket: /api/events. Each is a JSON object with Type and Data.

`Events` notes what each listing of the inbox changed, and one task makes texts of it, for all listeners
together. While nobody listens, it does nothing.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from maildir_safe._web.inbox import Closed
from maildir_safe._web.mailpit_entries import Entries
from maildir_safe._web.ordering import is_unread, newest_first, printable
from maildir_safe._web.parameters import Query
from maildir_safe._web.placed import Changes, Placed
from maildir_safe.errors import MaildirSafeError

MOST_AT_ONCE = 200
"""Most messages of one listing that are told one by one, as in Mailpit; the rest is one "prune"."""
MOST_WAITING = 1000
"""Most texts that wait for a listener. One that is further behind is hung up on."""
_LONGEST = 256 << 10  # characters of an event
_PAUSE = 5.0  # seconds after an error of the storage
_GOING, _BEHIND = 1001, 1013  # codes of RFC 6455 and of its registry


class Listener:
    """One connection, and the texts that wait for it."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._some = asyncio.Event()
        self.ended = 0

    def put(self, texts: list[str]) -> None:
        """Let texts wait to be sent."""
        if len(self._texts) + len(texts) > MOST_WAITING:
            self.end(_BEHIND)
        else:
            self._texts += texts
            self._some.set()

    def end(self, code: int) -> None:
        """Send nothing more, and close the connection with this code."""
        self._texts.clear()
        self.ended = code
        self._some.set()

    async def send(self, socket: WebSocket) -> None:
        """Send what waits, until `end`. Raises WebSocketDisconnect: the client has gone."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._texts:
                await socket.send_text(self._texts.popleft())
            if self.ended:
                await socket.close(self.ended)
                return


class Events:
    """Tells listeners what changes in an inbox.

    Args:
        entries: the messages of the inbox.
    """

    def __init__(self, entries: Entries) -> None:
        self._entries, self._inbox = entries, entries.inbox
        self._listeners: set[Listener] = set()
        self._watching: asyncio.Task[None] | None = None
        self._noted: deque[list[Changes]] = deque()
        self._inbox.when_changed.append(self._note)

    async def join(self) -> Listener:
        """Begin to listen. Raises TemporaryError: the Maildir cannot be listed."""
        await self._inbox.messages()
        listener = Listener()
        self._listeners.add(listener)
        if self._watching is None:
            self._noted.clear()
            self._watching = asyncio.create_task(self._watch(self._inbox.everything.version))
        return listener

    def leave(self, listener: Listener) -> None:
        """End a `join`."""
        self._listeners.discard(listener)
        if not self._listeners and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def tell(self, kind: str, about: dict[str, Any] | None = None) -> None:
        """Send an event to all listeners."""
        self._send([event(kind, about)])

    def tell_tags(self, keys: list[str]) -> None:
        """Tell that these messages have other tags now; none: that any may have."""
        if self._listeners:
            told = [event("update", {"ID": key, "Tags": self._entries.tags.of(key)}) for key in keys]
            self._send(told if 0 < len(told) <= MOST_AT_ONCE else [event("prune", None)])

    def _send(self, texts: list[str]) -> None:
        for listener in self._listeners:
            listener.put(texts)

    def _note(self, changes: list[Changes]) -> None:
        """Remember a change. The inbox calls this in the thread that lists."""
        if self._listeners:
            self._noted.append(changes)

    async def _watch(self, version: int) -> None:
        while True:
            try:
                version = await self._inbox.changed(version)
                noted = [self._noted.popleft() for _ in range(len(self._noted))]
                left, unread = len(self._inbox.everything.messages), self._inbox.everything.unread
                telling = functools.partial(texts_of, self._entries, noted, left)
                self._send([*await self._inbox.run_heavy(telling), stats(left, unread)])
            except Closed:
                for listener in self._listeners:
                    listener.end(_GOING)
                return
            except (MaildirSafeError, OSError) as error:
                trouble = {"Level": "error", "Type": "storage", "IP": "", "Message": printable(str(error))}
                self.tell("error", trouble)
                await asyncio.sleep(_PAUSE)


def event(kind: str, about: dict[str, Any] | None) -> str:
    """An event as text."""
    return json.dumps({"Type": kind, "Data": about})


def stats(total: int, unread: int) -> str:
    """The event that tells how many messages there are."""
    from maildir_safe import __version__

    return event("stats", {"Total": total, "Unread": unread, "Version": f"maildir-safe {__version__}"})


def texts_of(entries: Entries, noted: list[list[Changes]], left: int) -> list[str]:
    """The events that tell what changed.

    Args:
        entries: to read new messages.
        noted: what each listing changed.
        left: number of messages that there are now.
    """
    new: list[str] = []
    others: list[str] = []
    many = some_gone = False
    for changes in chain.from_iterable(noted):
        fresh = newest_first(changes.come)[::-1]
        told = entries.summaries(_there(entries, fresh[: MOST_AT_ONCE - len(new)]))
        short = [text for one in told if len(text := event("new", one)) <= _LONGEST]
        many |= len(fresh) > len(short)  # also if one has gone since
        some_gone |= bool(changes.gone)
        new += short
        others += [event("delete", {"ID": printable(key)}) for key in changes.gone]
        others += [
            event("update", {"ID": printable(one.key), "Read": not is_unread(one)})
            for one in _there(entries, changes.renamed)
        ]
    if many or len(new) + len(others) > MOST_AT_ONCE:
        others = [event("prune", None)]
    if some_gone and not left:
        others.append(event("truncate", None))
    return new + others


def _there(entries: Entries, keys: Iterable[str]) -> list[Placed]:
    found = (entries.inbox.get(printable(key)) for key in keys)
    return [message for message in found if message is not None]


async def listen(socket: WebSocket) -> None:
    """Send the events until the client goes. What it sends is dropped."""
    events: Events = socket.app.state.events
    try:
        Query(socket)
        listener = await events.join()
    except HTTPException as error:
        await socket.send_denial_response(PlainTextResponse(error.detail, error.status_code))
        return
    except MaildirSafeError as error:
        await socket.send_denial_response(PlainTextResponse(printable(str(error)), 503))
        return
    try:
        await socket.accept()
        await _both(asyncio.create_task(listener.send(socket)), asyncio.create_task(_until_gone(socket)))
    finally:
        events.leave(listener)


async def _both(*tasks: asyncio.Task[None]) -> None:
    """Wait until one of the tasks ends, and end the others."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    expected = (WebSocketDisconnect, asyncio.CancelledError)
    for trouble in ended:
        if isinstance(trouble, BaseException) and not isinstance(trouble, expected):
            raise trouble


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


ROUTES = [WebSocketRoute("/api/events", listen)]
