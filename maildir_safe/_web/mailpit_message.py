"""Mailpit's API, version 1: one message, its headers, source and parts, and sending one.

GET  /api/v1/message/ID, …/headers, …/raw, …/part/PART    GET /view/ID.html, /view/ID.txt
POST /api/v1/send

The ID ``latest`` is that of the newest message, or with `query` of the newest that matches.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from maildir_safe._mail.fields import read_fields
from maildir_safe._mail.message import Attachment, describe, find_part, read_mail
from maildir_safe._mail.structure import Part
from maildir_safe._mail.transfer import decoded
from maildir_safe._mail.words import raw_text
from maildir_safe._web.answers import begun, pieces
from maildir_safe._web.cleaning import framed
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailpit import entries_of, mark, search
from maildir_safe._web.mailpit_body import copy_body
from maildir_safe._web.mailpit_entries import Entry, whole
from maildir_safe._web.mailpit_send import MOST_SENT, build
from maildir_safe._web.parameters import Query, bad
from maildir_safe._web.placed import Placed

_LATEST = "latest"
_IN_MEMORY = 256 << 10  # bytes of a request that is still arriving
_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:;"
    " style-src 'unsafe-inline'; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_SEALED = {"Content-Security-Policy": "sandbox; default-src 'none'"}


async def find_message(request: Request, *names: str) -> Placed:
    """The message that a request is about. Raises KeyError if there is none."""
    key, inbox = request.path_params["id"], entries_of(request).inbox
    query = Query(request, "query", "tz", *names) if key == _LATEST else Query(request, *names)
    if key != _LATEST:
        return await inbox.find(key)
    words = query.text("query")
    found = await (search(request, words, query.text("tz")) if words else inbox.messages())
    if not found:
        raise KeyError(key)
    return found[0]


async def get_message(request: Request) -> Response:
    """Get one message, and mark it as read."""
    message, entries = await find_message(request), entries_of(request)
    entry = Entry(entries, message)
    found = await entries.inbox.parse(message.key, lambda raw: whole(entry, raw))
    await _mark_read(entries.inbox, message)
    answer: Response = request.app.state.response_budget.json(found)
    return answer


async def _mark_read(inbox: Inbox, message: Placed) -> None:
    """Mark a message as read. On a read-only mount it can be read anyway."""
    await asyncio.to_thread(mark, inbox, message, True)
    inbox.forget()


async def get_headers(request: Request) -> Response:
    """Get the header fields as they are written, unfolded: a list of values by name."""
    message = await find_message(request)

    def read(raw: bytes) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in read_fields(raw)[0].raw:
            found.setdefault(canonical(name), []).append(raw_text(value))
        return dict(sorted(found.items()))

    found = await entries_of(request).inbox.parse(message.key, read)
    answer: Response = request.app.state.response_budget.json(found)
    return answer


def canonical(name: str) -> str:
    """A field's name as Go writes it: ``Message-Id``."""
    return "-".join(word[:1].upper() + word[1:].lower() for word in name.split("-"))


async def get_raw(request: Request) -> Response:
    """Get one message as it is stored; with ``dl=1`` as a download."""
    message = await find_message(request, "dl")
    wanted = request.query_params.get("dl", "")
    if wanted not in ("", "0", "1"):
        raise bad(f"dl: {wanted[:100]!r} is not 0 or 1")
    file = await asyncio.to_thread(entries_of(request).inbox.maildir.open, message.key)
    headers = dict(_SEALED)
    if wanted == "1":
        headers["Content-Disposition"] = 'attachment; filename="message.eml"'
    source = await begun(pieces(file))
    return StreamingResponse(source, media_type="text/plain; charset=utf-8", headers=headers)


async def get_part(request: Request) -> Response:
    """Get one part, decoded, under its own type. A browser shows it in a sandbox, without scripts."""
    message, wanted = await find_message(request), request.path_params["part"]
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 6):
        raise HTTPException(404, "there is no such part")

    def find(raw: bytes) -> tuple[Part, Attachment]:
        part = find_part(raw, int(wanted))
        return part, describe(raw, part)

    inbox = entries_of(request).inbox
    part, about = await inbox.parse(message.key, find)
    file = await asyncio.to_thread(inbox.maildir.open, message.key)
    name = quote("".join(c for c in about.name if c.isprintable())[:150], safe="")
    headers = {**_SEALED, "Content-Disposition": f"inline; filename*=UTF-8''{name}"}
    content = await begun(decoded(pieces(file, part.body, part.end), part.coding))
    return StreamingResponse(content, headers={**headers, "Content-Type": about.content_type})


async def view_html(request: Request) -> Response:
    """Show the HTML of a message, with its own images. Nothing is loaded from the network."""
    message = await find_message(request, "embed")
    found = await entries_of(request).inbox.parse(message.key, _framed)
    if not found:
        raise HTTPException(404, "this message has no HTML")
    headers = {"Content-Security-Policy": _POLICY}
    answer: Response = request.app.state.response_budget.html(found, headers)
    return answer


def _framed(raw: bytes) -> str:
    mail = read_mail(raw)
    return framed(mail) if mail.html is not None else ""


async def view_text(request: Request) -> Response:
    """Show the text of a message; of one that has only HTML, its text."""
    message = await find_message(request)
    text = await entries_of(request).inbox.parse(
        message.key, lambda raw: read_mail(raw, images=False).readable
    )
    return PlainTextResponse(text, headers=_SEALED)


async def send(request: Request) -> Response:
    """Put a message that is described in JSON into the Maildir. The answer comes once it is durable."""
    Query(request)
    entries = entries_of(request)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as body:
        await copy_body(request, body, MOST_SENT)
        async with request.app.state.sending:  # after the last byte: a slow client holds up nobody
            wanted = await build(body)
            await entries.inbox.messages()
            deliver = entries.inbox.maildir.deliver
            try:
                key = await asyncio.to_thread(deliver, wanted.message, wanted.sender, wanted.recipients)
            except ValueError as error:
                raise bad(str(error)) from None
            if wanted.tags:
                await asyncio.to_thread(entries.tags.put, [key], wanted.tags)
    entries.inbox.forget()
    answer: dict[str, Any] = {"ID": key}
    return JSONResponse(answer)


ROUTES = [
    Route("/api/v1/message/{id}", get_message),
    Route("/api/v1/message/{id}/headers", get_headers),
    Route("/api/v1/message/{id}/raw", get_raw),
    Route("/api/v1/message/{id}/part/{part}", get_part),
    Route("/api/v1/send", send, methods=["POST"]),
    Route("/view/{id}.html", view_html),
    Route("/view/{id}.txt", view_text),
]
