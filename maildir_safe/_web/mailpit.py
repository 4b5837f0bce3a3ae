"""Mailpit's API, version 1, for the clients that speak it: the list, the search, reading and deleting.

GET PUT DELETE /api/v1/messages         GET DELETE /api/v1/search?query=…
GET            /api/v1/wait?query=…&timeout=10 (ours: Mailpit has none)
GET PUT        /api/v1/tags             PUT DELETE /api/v1/tags/TAG
GET            /api/v1/info, /livez, /readyz

`mailpit_message.py` has the routes of one message. The ids are the keys of the Maildir. Unlike Mailpit,
an unknown or malformed parameter is answered with 400, and its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from maildir_safe._web import metrics
from maildir_safe._web.inbox import UNREADABLE, Closed, Inbox
from maildir_safe._web.mailpit_body import read_fields
from maildir_safe._web.mailpit_entries import Entries, Entry
from maildir_safe._web.mailpit_query import SearchQuery, TooSlow, moment
from maildir_safe._web.messages import Messages
from maildir_safe._web.ordering import is_unread, printable, received
from maildir_safe._web.parameters import Query, bad
from maildir_safe._web.placed import Placed
from maildir_safe.errors import MaildirSafeError

MOST_LISTED = 1000
"""Most messages of one list. Larger limits are accepted, as Mailpit does, and cut."""
_FURTHEST = 10**9
_LONGEST_WAIT = 60.0
_SECONDS = 60.0
_STARTED = time.monotonic()


def entries_of(request: Request) -> Entries:
    """The messages of the application that answers a request."""
    found: Entries = request.app.state.entries
    return found


def ok() -> Response:
    """Mailpit's answer to a change that was made."""
    return PlainTextResponse("ok")


async def search(request: Request, text: str, zone: str = "") -> Messages:
    """All messages that match a query, newest first.

    Raises:
        HTTPException: 400, the query is malformed; 503, searching takes too long: what was read is
            remembered, so a repeated search gets further.
    """
    query = SearchQuery(text, zone)
    entries = entries_of(request)
    messages = await entries.inbox.messages()
    return await entries.inbox.run_heavy(lambda: matching(entries, query, messages))


def matching(entries: Entries, query: SearchQuery, messages: Messages) -> Messages:
    """The messages that match a query, by the index where it knows them. Raises HTTPException: too slow."""
    until = time.monotonic() + _SECONDS
    answer, rest = entries.inbox.ask(query.needles), query.without_needles()

    def matched(key: str) -> bool:
        row = answer.row(key) if answer else None
        if answer and row is not None and (not query.passes(row, answer.hits) or rest.is_empty):
            return query.passes(row, answer.hits)
        message = messages.get(key)
        return message is not None and matches(Entry(entries, message), rest if row else query, until)

    try:
        return messages.of([key for key in messages.ids if matched(key)])
    except TooSlow:
        text = f"the search takes longer than {_SECONDS:g} s; try again"
        raise HTTPException(503, text) from None


def matches(entry: Entry, query: SearchQuery, until: float) -> bool:
    """Whether a message matches a query; False if it is gone or cannot be read now. Raises TooSlow."""
    try:
        return query.matches(entry, until)
    except UNREADABLE:
        return False


async def _page(request: Request, query: Query, found: Messages) -> Response:
    entries = entries_of(request)
    start, limit = query.integer("start", 0, _FURTHEST), query.integer("limit", 50, _FURTHEST)
    total, unread = len(await entries.inbox.messages()), entries.inbox.everything.unread
    if "before" in query:
        before = moment("before", query.text("before"), None)
        found = found.of([key for key in found.ids if received(key) < before])
    some = found[start : start + min(limit, MOST_LISTED)]
    listed = await entries.inbox.run_heavy(lambda: entries.summaries(some))
    answer: Response = request.app.state.response_budget.json(
        {
            "total": total,
            "unread": unread,
            "count": len(listed),
            "messages_count": len(found),
            "messages_unread": sum(map(is_unread, found)),
            "start": start,
            "tags": [*await asyncio.to_thread(entries.tags.counts)],
            "messages": listed,
        }
    )
    return answer


async def list_messages(request: Request) -> Response:
    """List messages, newest first."""
    query = Query(request, "start", "limit", "before")
    return await _page(request, query, await entries_of(request).inbox.messages())


async def search_messages(request: Request) -> Response:
    """List the messages that match a query, newest first."""
    query = Query(request, "query", "start", "limit", "before", "tz")
    return await _page(request, query, await search(request, query.text("query"), query.text("tz")))


async def delete_found(request: Request) -> Response:
    """Remove the messages that match a query."""
    query = Query(request, "query", "tz")
    found = await search(request, query.text("query"), query.text("tz"))
    return await _discard(entries_of(request).inbox, found)


async def delete_messages(request: Request) -> Response:
    """Remove the messages with these IDs, or all messages. An ID that is unknown is passed over."""
    Query(request)
    inbox = entries_of(request).inbox
    ids = (await read_fields(request, IDs=list)).get("IDs") or None
    answer = await _discard(inbox, await _chosen(inbox, ids))
    # MailHog's answer is empty, and its client for Node reads "ok" as broken JSON; it sends no Accept
    return answer if ids or "accept" in request.headers else Response()


async def _chosen(inbox: Inbox, ids: list[str] | None) -> Messages:
    """The messages with these ids, or all messages (None)."""
    messages = await inbox.messages()
    if ids is None:
        return messages
    wanted = set(ids)
    return messages.of([key for key in messages.ids if printable(key) in wanted])


async def _discard(inbox: Inbox, messages: Messages) -> Response:
    def discard() -> int:
        failed = 0
        for message in messages:
            try:
                inbox.maildir.discard(message.key)
            except (MaildirSafeError, OSError):
                failed += 1
        return failed

    return await _changed(inbox, discard, "removed")


async def _changed(inbox: Inbox, what: Any, done: str) -> Response:
    try:
        failed = await inbox.run_heavy(what)
    finally:
        inbox.forget()
    if failed:
        raise HTTPException(503, f"{failed} messages could not be {done}")
    return ok()


async def mark_messages(request: Request) -> Response:
    """Mark messages as read or unread: those with these IDs, or those that a search finds, or all."""
    query = Query(request, "tz")
    fields = await read_fields(request, IDs=list, Read=bool, Search=str)
    ids, words = fields.get("IDs") or None, fields.get("Search", "")
    if ids and words:
        raise bad("IDs, Search: only one of them may be given")
    inbox = entries_of(request).inbox
    chosen = await (search(request, words, query.text("tz")) if words else _chosen(inbox, ids))
    read = fields.get("Read", False)
    return await _changed(inbox, lambda: sum(not mark(inbox, message, read) for message in chosen), "marked")


def mark(inbox: Inbox, message: Placed, read: bool) -> bool:
    """Mark a message as read or unread; return False if that failed. A message that is gone needs no mark."""
    if is_unread(message) != read:
        return True
    with contextlib.suppress(KeyError):
        try:
            inbox.maildir.set_flags(message.key, message.flags.replace("S", "") + "S" * read)
        except (MaildirSafeError, OSError):
            return False
    return True


async def wait(request: Request) -> Response:
    """Wait for a message that matches a query, and answer with the list of those that do.

    All messages that exist at the start are examined, even if `timeout` (seconds, at most 60) is 0. The
    answer is 404 if none arrives in time.
    """
    query = Query(request, "query", "timeout", "tz")
    until = asyncio.get_running_loop().time() + query.seconds("timeout", 10, _LONGEST_WAIT)
    inbox = entries_of(request).inbox
    while True:
        await inbox.messages()
        version = inbox.everything.version
        found = await search(request, query.text("query"), query.text("tz"))
        if found:
            return await _page(request, query, found)
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            raise HTTPException(404, "no such message arrived in time")
        with contextlib.suppress(TimeoutError):
            try:
                await asyncio.wait_for(inbox.changed(version), left)
            except Closed:
                raise HTTPException(503, "the server is shutting down") from None


async def list_tags(request: Request) -> Response:
    """List all tags."""
    Query(request)
    await entries_of(request).inbox.messages()
    return JSONResponse([*await asyncio.to_thread(entries_of(request).tags.counts)])


async def put_tags(request: Request) -> Response:
    """Give the messages with these IDs exactly these tags."""
    Query(request)
    fields = await read_fields(request, IDs=list, Tags=list)
    entries = entries_of(request)
    chosen = await _chosen(entries.inbox, fields.get("IDs", []))
    keys = [printable(message.key) for message in chosen]
    await asyncio.to_thread(entries.tags.put, keys, fields.get("Tags", []))
    if keys:
        request.app.state.events.tell_tags(keys)
    return ok()


async def rename_tag(request: Request) -> Response:
    """Rename a tag in all messages."""
    Query(request)
    fields = await read_fields(request, Name=str)
    return await _rename(request, fields.get("Name", ""))


async def delete_tag(request: Request) -> Response:
    """Remove a tag from all messages."""
    Query(request)
    return await _rename(request, None)


async def _rename(request: Request, new: str | None) -> Response:
    entries = entries_of(request)
    await entries.inbox.messages()
    if not await asyncio.to_thread(entries.tags.rename, request.path_params["tag"], new):
        raise HTTPException(404 if new is None else 400, "there is no such tag")
    request.app.state.events.tell_tags([])
    return ok()


async def info(request: Request) -> Response:
    """Tell about this server. The version is ours, and the sizes that we do not count are 0."""
    Query(request)
    from maildir_safe import __version__

    entries, counted = entries_of(request), request.app.state.counters.messages
    messages = await entries.inbox.messages()
    size = await entries.inbox.run_heavy(lambda: sum(map(entries.inbox.maildir.size_of, messages)))
    return JSONResponse(
        {
            "Version": f"maildir-safe {__version__}",
            "LatestVersion": "disabled",
            "Database": printable(entries.inbox.maildir.path),
            "DatabaseSize": size,
            "Messages": len(messages),
            "Unread": entries.inbox.everything.unread,
            "Tags": await asyncio.to_thread(entries.tags.counts),
            "RuntimeStats": {
                "Uptime": int(time.monotonic() - _STARTED),
                "Memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "MessagesDeleted": 0,
                "SMTPAccepted": counted["stored"],
                "SMTPAcceptedSize": 0,
                "SMTPRejected": counted["deferred"] + counted["refused"],
                "SMTPIgnored": 0,
            },
        }
    )


ROUTES = [
    Route("/api/v1/messages", list_messages),
    Route("/api/v1/messages", mark_messages, methods=["PUT"]),
    Route("/api/v1/messages", delete_messages, methods=["DELETE"]),
    Route("/api/v1/search", search_messages),
    Route("/api/v1/search", delete_found, methods=["DELETE"]),
    Route("/api/v1/wait", wait),
    Route("/api/v1/tags", list_tags),
    Route("/api/v1/tags", put_tags, methods=["PUT"]),
    Route("/api/v1/tags/{tag}", rename_tag, methods=["PUT"]),
    Route("/api/v1/tags/{tag}", delete_tag, methods=["DELETE"]),
    Route("/api/v1/info", info),
    Route("/livez", metrics.health),
    Route("/readyz", metrics.ready),
]
