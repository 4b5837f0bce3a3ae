"""The page of one message, or of a message that is attached to it, and the frame with its HTML.

GET  /message/KEY, /message/KEY/html      POST /message/KEY/release

``inside=3.2`` means part 2 of the message that is part 3 of this message.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from maildir_safe._mail.checks import checks
from maildir_safe._mail.html import loads_anything
from maildir_safe._mail.links import codes, links
from maildir_safe._mail.message import Mail, read_mail
from maildir_safe._web.api import find_messages, list_entry
from maildir_safe._web.cleaning import framed
from maildir_safe._web.guard import HEADERS
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailpit_body import read_form
from maildir_safe._web.mailpit_release import released
from maildir_safe._web.ordering import is_unread, printable
from maildir_safe._web.pages import link, rendered
from maildir_safe._web.parameters import Query, bad
from maildir_safe._web.parts import DEEPEST, kind_of, tree, way_of
from maildir_safe._web.placed import Placed
from maildir_safe.errors import MaildirSafeError

_FURTHEST = 10**9
_MOST_SOURCE = 1 << 20
_VIEWS = ("html", "text", "headers", "parts", "source", "checks")
_ALSO = ("reply-to", "bcc", "date", "message-id")
_PLACE = ("search", "mailbox", "offset")


async def show_message(request: Request) -> Response:
    """Show a message, and mark it as read."""
    query = Query(request, "view", "remote", "inside", "released", *_PLACE)
    note = "The server has taken the message." if "released" in query else ""
    return await _page(request, query, note)


async def _page(request: Request, query: Query, note: str = "", refusal: str = "", to: str = "") -> Response:
    inbox: Inbox = request.app.state.inbox
    way, wanted = way_of(query), query.text("view")
    if wanted and wanted not in _VIEWS:
        raise bad(f"view: {wanted[:100]!r} is not one of {', '.join(_VIEWS)}")
    message = await inbox.find(request.path_params["key"])
    about = await inbox.parse(message.key, lambda raw: _about(way.message(raw), wanted))
    if is_unread(message):
        with contextlib.suppress(MaildirSafeError):  # on a read-only mount the message can still be read
            await asyncio.to_thread(inbox.maildir.set_flags, message.key, message.flags + "S")
            inbox.forget()
            message = await inbox.find(printable(message.key))
    context = {
        **await asyncio.to_thread(list_entry, inbox, message),
        **about,
        **(await _neighbours(inbox, query, message) if not way else {}),
        "remote": "remote" in query,
        "search": query.text("search").strip(),
        "box": printable((await inbox.box(query.text("mailbox"))).name),
        "offset": query.integer("offset", 0, _FURTHEST),
        "alone": inbox.maildir.alone,
        "way": way,
        "deepest": len(way) >= DEEPEST,
        "kind_of": kind_of,
        "relay": request.app.state.relay if not way else None,
        "note": note,
        "refusal": refusal,
        "release_to": to,
    }
    policy = HEADERS["Content-Security-Policy"].replace("img-src data:", "img-src 'self' data:")
    page = rendered(request, "message.html", context)
    answer: Response = request.app.state.response_budget.html(page, {"Content-Security-Policy": policy})
    return answer


def _about(raw: bytes, wanted: str) -> dict[str, Any]:
    """What the page says of a message."""
    mail = read_mail(raw, images=False)
    views = [view for view in _VIEWS if _has(mail, view)]
    view = wanted if wanted in views else views[0]
    return {
        "mail": mail,
        "views": views,
        "view": view,
        "has_remote": loads_anything(mail.html or ""),
        "also": _first_of(mail),
        "codes": codes(mail)[:5],
        "parts": tree(raw) if view == "parts" else [],
        "source": raw[:_MOST_SOURCE].decode("utf-8", "replace") if view == "source" else "",
        "cut": len(raw) > _MOST_SOURCE,
        "length": len(raw),
        "checks": checks(mail, len(raw)) if view == "checks" else [],
        "links": links(mail) if view == "checks" else [],
    }


async def _neighbours(inbox: Inbox, query: Query, message: Placed) -> dict[str, str]:
    """The messages before and after this one in the list from which it was opened."""
    box = await inbox.box(query.text("mailbox"))
    found = (await find_messages(inbox, box, query.text("search").strip()))[0]
    at = found.number(message.key)
    near = {"newer": at - 1, "older": at + 1} if at is not None else {}
    return {name: printable(found[place].key) for name, place in near.items() if 0 <= place < len(found)}


def _first_of(mail: Mail) -> dict[str, str]:
    """Header fields that the top of the page shows, besides those of the list: the first of each."""
    found = {name.lower(): value for name, value in reversed(mail.headers)}
    return {name: found[name] for name in _ALSO if found.get(name)}


def _has(mail: Mail, view: str) -> bool:
    return {"html": mail.html is not None, "text": mail.text is not None}.get(view, True)


async def show_html(request: Request) -> Response:
    """Show the HTML of a message in a sandboxed frame, without scripts and forms.

    Nothing is loaded from the network, unless the user asks for it. A link opens a new window, which has
    no reference to this one. The page around it may look into the frame, to make it as high as the mail
    and to take its keys; that is harmless only because nothing in the frame runs.
    """
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "remote", "inside")
    remote, way = "remote" in query, way_of(query)
    message = await inbox.find(request.path_params["key"])
    sources = " https: http:" if remote else ""
    policy = (
        "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox; default-src 'none';"
        f" img-src data:{sources};"
        f" style-src 'unsafe-inline'{sources}; font-src data:{sources}; form-action 'none';"
        " base-uri 'none'; frame-ancestors 'self'"
    )
    page = await inbox.parse(message.key, lambda raw: framed(read_mail(way.message(raw)), remote))
    answer: Response = request.app.state.response_budget.html(page, {"Content-Security-Policy": policy})
    return answer


async def release(request: Request) -> Response:
    """Send a message to real recipients: the page's button "Release". A refusal is shown on the page."""
    query = Query(request, "view", *_PLACE)
    message = await request.app.state.inbox.find(request.path_params["key"])
    to = ",".join(value for name, value in await read_form(request, 5) if name == "to")
    try:
        await released(request, message, [one.strip() for one in to.split(",") if one.strip()])
    except HTTPException as error:
        if request.app.state.relay is None:
            raise
        answer = await _page(request, query, refusal=error.detail.removeprefix("Failed: "), to=to)
        answer.status_code = error.status_code
        return answer
    same = {name: query.text(name) for name in ("view", *_PLACE)}
    path = request.url.path.removeprefix(request.scope.get("root_path", "")).removesuffix("/release")
    return RedirectResponse(link(request, path, **same, released="1"), 303)


ROUTES = [
    Route("/message/{key}", show_message),
    Route("/message/{key}/html", show_html),
    Route("/message/{key}/release", release, methods=["POST"]),
]
