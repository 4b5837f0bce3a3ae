"""MailHog's API, as far as its clients use it: the list, the search, one message, and deleting one.

GET /api/v2/messages?start=0&limit=50    GET /api/v2/search?kind=from|to|containing&query=…
GET DELETE /api/v1/messages/ID

`DELETE /api/v1/messages` without a body removes everything in MailHog's API and in Mailpit's:
`mailpit.py` has it. `GET /api/v1/messages` is Mailpit's alone, since the shapes differ.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maildir_safe._web.inbox import MOST_READ, UNREADABLE, Inbox
from maildir_safe._web.mailhog_message import Room, whole
from maildir_safe._web.messages import Messages
from maildir_safe._web.parameters import Query, bad
from maildir_safe._web.placed import Placed
from maildir_safe._web.search import folded

KINDS = ("from", "to", "containing")
_MOST_LISTED = 250
_USUAL = 50
_FURTHEST = 10**9
_LONGEST = 10_000
_SECONDS = 60.0


async def list_messages(request: Request) -> Response:
    """List messages as MailHog does, newest first."""
    query = Query(request, "start", "limit")
    inbox: Inbox = request.app.state.inbox
    return await _page(request, query, await inbox.messages())


async def search_messages(request: Request) -> Response:
    """List the messages whose sender, recipients or text contain a query, as MailHog does."""
    query = Query(request, "kind", "query", "start", "limit")
    kind, words = query.text("kind"), query.text("query")
    if kind not in KINDS:
        raise bad(f"kind: must be one of {', '.join(KINDS)}")
    if not 0 < len(words) <= _LONGEST:
        raise bad(f"query: must have 1 to {_LONGEST} characters")
    inbox: Inbox = request.app.state.inbox
    messages = await inbox.messages()
    found = await inbox.run_heavy(lambda: _matching(inbox, messages, kind, folded(words)))
    return await _page(request, query, found)


def _matching(inbox: Inbox, messages: Messages, kind: str, wanted: str) -> Messages:
    until = time.monotonic() + _SECONDS
    found = []
    for message in messages:
        if time.monotonic() > until:
            raise HTTPException(503, f"the search takes longer than {_SECONDS:g} s; try again")
        if wanted in _searched(inbox, message, kind):
            found.append(message.key)
    return messages.of(found)


def _searched(inbox: Inbox, message: Placed, kind: str) -> str:
    """The folded text in which a kind of search looks; ``""`` if the message cannot be read now."""
    if kind == "containing":
        return inbox.text(message) or ""
    summary = inbox.summary(message)
    if summary is None:
        return ""
    if kind == "from":
        return folded(f"{summary.returns or ''}\n{summary.sender}")
    return folded("\n".join([*summary.envelope, summary.to]))


async def _page(request: Request, query: Query, found: Messages) -> Response:
    inbox: Inbox = request.app.state.inbox
    start = query.integer("start", 0, _FURTHEST)
    limit = query.integer("limit", _USUAL, _FURTHEST) or _USUAL  # as in MailHog, 0 is no limit given
    some = found[start : start + min(limit, _MOST_LISTED)]
    items = await inbox.run_heavy(lambda: _items(inbox, some))
    answer: Response = request.app.state.response_budget.json(
        {"total": len(found), "count": len(items), "start": start, "items": items}
    )
    return answer


def _items(inbox: Inbox, messages: Messages) -> list[dict[str, Any]]:
    """Messages in full, until the room of a response is used up. The first is cut if it alone is too long."""
    room, items = Room(), list[dict[str, Any]]()
    for message in messages:
        try:
            item = whole(message.key, inbox.read(message.key, MOST_READ), room)
        except UNREADABLE:
            continue
        if room.is_used_up and items:
            break
        items.append(item)
    return items


async def get_message(request: Request) -> Response:
    """Get one message as MailHog does."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["id"])
    found = await inbox.parse(message.key, lambda raw: whole(message.key, raw, Room()))
    answer: Response = request.app.state.response_budget.json(found)
    return answer


async def delete_message(request: Request) -> Response:
    """Remove one message."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["id"])
    removed = await asyncio.to_thread(inbox.maildir.discard, message.key)
    inbox.forget()
    if not removed:
        raise KeyError(message.key)
    return Response()


ROUTES = [
    Route("/api/v2/messages", list_messages),
    Route("/api/v2/search", search_messages),
    Route("/api/v1/messages/{id}", get_message),
    Route("/api/v1/messages/{id}", delete_message, methods=["DELETE"]),
]
