"""The JSON API: list, get, raw, attachment, delete, wait. An unknown parameter is answered with 400.

GET    /api/messages?limit=50&offset=0&search=words&mailbox=NAME
GET    /api/messages/KEY            DELETE /api/messages/KEY
GET    /api/messages/KEY/raw        DELETE /api/messages?search=words&upto=KEY&mailbox=NAME
GET    /api/messages/KEY/attachments/NUMBER
GET    /api/wait?to=…&subject=…&after=KEY&timeout=10&mailbox=NAME
GET    /api/mailboxes
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._mail.message import Attachment, describe, find_part, read_mail
from maildir_safe._mail.structure import Part
from maildir_safe._mail.summary import Summary
from maildir_safe._mail.transfer import decoded
from maildir_safe._web.answers import begun, download, pieces
from maildir_safe._web.box import Box
from maildir_safe._web.inbox import Closed, Inbox, NoSuchBox
from maildir_safe._web.messages import Messages
from maildir_safe._web.ordering import is_unread, printable, received
from maildir_safe._web.parameters import Query, bad
from maildir_safe._web.placed import Placed
from maildir_safe._web.search import folded

_MOST = 500
_FURTHEST = 10**9
_LONGEST_WAIT = 60.0
_AT_A_TIME = 2000
_DIGITS = 10
_LOOK = 5.0  # seconds that `wait` may examine messages that are there, however short its timeout


def list_entry(inbox: Inbox, message: Placed) -> dict[str, Any]:
    """A message as one entry of the list. Opens its file."""
    summary = inbox.summary(message) or Summary()
    return {
        "key": printable(message.key),
        "mailbox": printable(message.mailbox),
        "flags": message.flags,
        "unread": is_unread(message),
        "size": inbox.maildir.size_of(message),
        "received": received(message.key),
        "from": summary.sender,
        "from_name": summary.name,
        "from_address": summary.address,
        "to": summary.to,
        "cc": summary.cc,
        "subject": summary.subject,
        "date": summary.date,
        "attached": summary.attached,
        "envelope_from": summary.returns,
        "envelope_to": summary.envelope,
    }


async def find_messages(inbox: Inbox, box: Box, search: str) -> tuple[Messages, bool]:
    """All messages of a mailbox, or those that match `search`; and whether the search was complete."""
    messages = await inbox.messages(box=box)
    if not search.strip():
        return messages, True
    return await inbox.run_heavy(lambda: inbox.search(messages, search))


async def list_entries(inbox: Inbox, messages: Messages) -> list[dict[str, Any]]:
    """Messages as entries of the list."""
    return await asyncio.to_thread(lambda: [list_entry(inbox, message) for message in messages])


async def list_messages(request: Request) -> Response:
    """List messages, newest first."""
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "limit", "offset", "search", "mailbox")
    box = await inbox.box(query.text("mailbox"))
    most, offset = query.integer("limit", 50, _MOST), query.integer("offset", 0, _FURTHEST)
    found, complete = await find_messages(inbox, box, query.text("search"))
    return JSONResponse(
        {
            "total": len(found),
            "unread": box.unread,
            "version": box.version,
            "search_complete": complete,
            "messages": await list_entries(inbox, found[offset : offset + most]),
        }
    )


async def get_message(request: Request) -> Response:
    """Get one message, parsed."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    mail = await inbox.parse(message.key, read_mail)
    answer: Response = request.app.state.response_budget.json(
        {
            **await asyncio.to_thread(list_entry, inbox, message),
            "headers": mail.headers,
            "text": mail.text,
            "html": mail.html_with_images,
            "attachments": [
                {"number": part.number, "name": part.name, "type": part.content_type, "size": part.size}
                for part in mail.attachments
            ],
            "broken": mail.problem,
        }
    )
    return answer


async def raw_message(request: Request) -> Response:
    """Download one message as it is stored in the Maildir."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    file = await asyncio.to_thread(inbox.maildir.open, message.key)
    return download(await begun(pieces(file)), "message/rfc822", "message.eml")


async def get_attachment(request: Request) -> Response:
    """Download one part of a message; the browser must never display it.

    The part is decoded while it is sent, so slow clients cost no memory.
    """
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    number = request.path_params["number"]
    # not Starlette's {number:int}: int() refuses 4,300 digits by an exception, which would be a 500
    wanted = int(number) if number.isdecimal() and len(number) < _DIGITS else -1

    def find(raw: bytes) -> tuple[Part, Attachment]:
        part = find_part(raw, wanted)
        return part, describe(raw, part)

    part, about = await inbox.parse(message.key, find)
    file = await asyncio.to_thread(inbox.maildir.open, message.key)
    content = decoded(pieces(file, part.body, part.end), part.coding)
    return download(await begun(content), "application/octet-stream", about.name)


async def delete_message(request: Request) -> Response:
    """Remove one message."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    removed = await asyncio.to_thread(inbox.maildir.discard, message.key)
    inbox.forget()
    if not removed:  # another was first
        raise KeyError(message.key)
    return JSONResponse({"removed": 1})


async def delete_messages(request: Request) -> Response:
    """Remove the messages that match `search`, or all messages. The Maildir itself stays.

    With `upto`, messages that arrived after that one stay; with `mailbox`, those of other mailboxes.
    """
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "search", "upto", "mailbox")
    box = await inbox.box(query.text("mailbox"))
    removed, trouble = await inbox.discard(box, query.text("search"), known_key(inbox, query, "upto"))
    if trouble:
        return JSONResponse({"error": trouble, "removed": removed}, 503)
    return JSONResponse({"removed": removed})


def known_key(inbox: Inbox, query: Query, name: str) -> str:
    """A parameter that is the key of a message that is or was in this inbox. Raises HTTPException: 400."""
    key = query.text(name)
    if key and not inbox.knows(key):
        raise bad(f"{name}: {key[:200]!r} is not the key of a message that is or was here")
    return key


async def wait(request: Request) -> Response:
    """Wait for a message that matches, and return the newest one; 404 if none arrives in time.

    A message matches if its envelope or header recipients contain `to` and its subject contains
    `subject`, in upper or lower case. `timeout` is in seconds, at most 60. `after` is the key of an
    earlier message: only messages that arrived later match. Messages that exist are examined for
    `timeout`, but for 5 seconds at least, the newest first. `mailbox` need not exist yet.
    """
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "to", "subject", "after", "timeout", "mailbox")
    until = asyncio.get_running_loop().time() + query.seconds("timeout", 10, _LONGEST_WAIT)
    look_until = max(until, asyncio.get_running_loop().time() + _LOOK)
    wanted = {name: folded(query.text(name)) for name in ("to", "subject")}
    await inbox.messages()
    after = known_key(inbox, query, "after")
    looked_at: set[str] = set()
    while True:
        version = inbox.everything.version
        found, skipped = await _match(
            inbox, await _if_there(inbox, query.text("mailbox")), wanted, after, looked_at, look_until
        )
        if found is not None:
            return JSONResponse(found)
        if skipped:
            error = f"no such message arrived in time; {skipped} older messages could not be examined"
            return JSONResponse({"error": error}, 404)
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return JSONResponse({"error": "no such message arrived in time"}, 404)
        try:
            await asyncio.wait_for(inbox.changed(version), left)
        except TimeoutError:
            continue
        except Closed:
            return JSONResponse({"error": "the server is shutting down"}, 503)


async def _if_there(inbox: Inbox, name: str) -> Box:
    """A mailbox, or an empty one if there is none yet."""
    try:
        return await inbox.box(name)
    except NoSuchBox:
        return Box(name)


async def _match(
    inbox: Inbox, box: Box, wanted: dict[str, str], after: str, looked_at: set[str], until: float
) -> tuple[dict[str, Any] | None, int]:
    """The newest message that matches, and how many there was no time for.

    Each message is examined once, in portions, new arrivals included.
    """
    unread: set[str] = set()
    try:
        while True:
            listed = await inbox.messages(1.0, box)
            messages = listed.of([key for key in listed.ids if key not in looked_at])
            some = messages[:_AT_A_TIME]
            before = len(looked_at)
            found = await asyncio.to_thread(_first, inbox, some, wanted, after, unread, looked_at, until)
            left = len(messages) - (len(looked_at) - before)
            if found is not None or left == 0 or asyncio.get_running_loop().time() >= until:
                return found, left
    finally:
        looked_at -= unread


def _first(
    inbox: Inbox,
    messages: Messages,
    wanted: dict[str, str],
    after: str,
    unread: set[str],
    looked_at: set[str],
    until: float,
) -> dict[str, Any] | None:
    """The first message that matches. Those examined are added to `looked_at`; it ends at `until`."""
    for message in messages:
        if time.monotonic() >= until:
            return None
        looked_at.add(message.key)
        if after and not inbox.is_newer(printable(message.key), after):
            continue
        summary = inbox.summary(message)
        if summary is None:
            unread.add(message.key)  # it may be readable next time
            continue
        recipients = folded(" ".join([summary.to, summary.cc, *summary.envelope]))
        if wanted["to"] in recipients and wanted["subject"] in folded(summary.subject):
            return list_entry(inbox, message)
    return None


async def list_mailboxes(request: Request) -> Response:
    """List the mailboxes and their folders, with the number of messages in each."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    await inbox.messages()
    return JSONResponse(
        {
            "total": len(inbox.everything.messages),
            "unread": inbox.everything.unread,
            "complete": inbox.maildir.complete,
            "indexed": len(inbox.index.rows) if inbox.index else 0,
            "mailboxes": [
                {
                    "name": printable(box.name),
                    "total": len(box.messages),
                    "unread": box.unread,
                    "trouble": printable(inbox.maildir.troubles.get(box.name, "")),
                }
                for box in inbox.boxes
            ],
        }
    )


ROUTES = [
    Route("/api/mailboxes", list_mailboxes),
    Route("/api/messages", list_messages),
    Route("/api/messages", delete_messages, methods=["DELETE"]),
    Route("/api/messages/{key}", get_message),
    Route("/api/messages/{key}", delete_message, methods=["DELETE"]),
    Route("/api/messages/{key}/raw", raw_message),
    Route("/api/messages/{key}/attachments/{number}", get_attachment),
    Route("/api/wait", wait),
]
