"""The pages for people: the list, and the events that keep it fresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from maildir_safe._mail.links import with_links
from maildir_safe._web.api import find_messages, list_entries
from maildir_safe._web.box import Box
from maildir_safe._web.inbox import Closed, Inbox
from maildir_safe._web.ordering import printable
from maildir_safe._web.parameters import Query
from maildir_safe._web.trash import MOST, Trash
from maildir_safe.errors import MaildirSafeError

_PAGE = 50
_FURTHEST = 10**9
_LINK = '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>'
_templates = Jinja2Templates(Path(__file__).parent / "templates")


def when(seconds: float) -> Markup:
    """A time for people, in UTC. The script in the page replaces it by the local time."""
    if not seconds:
        return Markup("")
    time = datetime.fromtimestamp(seconds, UTC)
    return Markup("<time datetime='{}' title='{} UTC'>{}</time>").format(
        time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        time.strftime("%Y-%m-%d %H:%M:%S"),
        time.strftime("%Y-%m-%d %H:%M"),
    )


def size(count: int | None) -> str:
    """A number of bytes for people."""
    if count is None:
        return ""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def linked(text: str) -> Markup:
    """Text of a message, with its web addresses as links that open in a window of their own."""
    shown = Markup(_LINK)
    return Markup("").join(
        shown.format(piece, piece) if is_link else escape(piece) for piece, is_link in with_links(text)
    )


def swaks(request: Request) -> str:
    """A command that sends mail here; ``""``: this server takes none by SMTP."""
    host, _, port = str(request.app.state.smtp).rpartition(":")
    if host in ("0.0.0.0", "[::]"):  # every address: the browser knows one
        host = request.url.hostname or "127.0.0.1"
    return f"swaks --server {host}:{port} --from me@example.com --to you@example.com" if host else ""


def link(request: Request, path: str, **parameters: object) -> str:
    """A link within this server; ``""`` is the page that is shown. Empty parameters are left out."""
    query = urlencode({name: value for name, value in parameters.items() if value})
    full = request.scope.get("root_path", "") + path if path else ""
    return f"{full}?{query}" if query else full


@pass_context
def address(context: Context, path: str, **parameters: object) -> str:
    """`link`, in a template."""
    return link(context["request"], path, **parameters)


_templates.env.filters.update(when=when, size=size, linked=linked)
_templates.env.globals.update(address=address)


def rendered(request: Request, template: str, context: dict[str, Any]) -> str:
    """The text of a page."""
    return _templates.get_template(template).render({"request": request, **context})


def page_of(request: Request, template: str, context: dict[str, Any]) -> Response:
    """A page."""
    return _templates.TemplateResponse(request, template, context)


def error_page(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """A page with an error, and a link back to the list."""
    return _templates.TemplateResponse(
        request, "error.html", {"status": status, "text": text}, status, headers
    )


def mailbox_lines(inbox: Inbox, shown: Box) -> list[dict[str, Any]]:
    """The mailboxes for the page's navigation; none if there is only one. One that is empty is listed too."""
    if inbox.maildir.alone:
        return []
    lines = [{"name": "", "label": "All mail", "unread": inbox.everything.unread, "shown": not shown.name}]
    for box in inbox.boxes:
        folder = inbox.maildir.folder_of(box.name)
        lines.append(
            {
                "name": box.name,
                "label": printable(folder or box.name),
                "folder": bool(folder) and inbox.maildir.many,
                "unread": box.unread,
                "shown": box is shown,
                "trouble": printable(inbox.maildir.troubles.get(box.name, "")),
            }
        )
    return lines


async def show_list(request: Request) -> Response:
    """Show the list; with `rows` in the query only its rows, for the script that keeps it fresh."""
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "search", "offset", "rows", "mailbox", "undo")
    search, offset = query.text("search").strip(), query.integer("offset", 0, _FURTHEST)
    box = await inbox.box(query.text("mailbox"))
    found, complete = await find_messages(inbox, box, search)
    if offset >= len(found):
        offset = 0
    trash: Trash = request.app.state.trash
    context: dict[str, Any] = {
        "deletion": trash.find(query.text("undo")),
        "most_undone": MOST,
        "lines": await list_entries(inbox, found[offset : offset + _PAGE]),
        "total": len(found),
        "unread": box.unread,
        "mailboxes": mailbox_lines(inbox, box),
        "mailbox": printable(box.name),
        "all_found": inbox.maildir.complete,
        "folder_of": inbox.maildir.folder_of,
        "complete": complete,
        "search": search,
        "offset": offset,
        "older": offset + _PAGE if offset + _PAGE < len(found) else None,
        "newer": max(offset - _PAGE, 0) if offset else None,
        "latest": box.latest,
        "path": printable(inbox.maildir.path),
        "version": inbox.everything.version,
        "addresses": request.app.state.addresses,
        "swaks": swaks(request),
    }
    return _templates.TemplateResponse(request, "rows.html" if "rows" in query else "list.html", context)


async def events(request: Request) -> Response:
    """Send an event whenever the Maildir has changed (server-sent events)."""
    inbox: Inbox = request.app.state.inbox
    version = Query(request, "version").integer("version", 0, 10**15)

    async def stream(version: int) -> AsyncIterator[str]:
        while True:
            try:
                version = await asyncio.wait_for(inbox.changed(version), 15)
            except Closed:
                return
            except TimeoutError:
                yield ": still here\n\n"
            except MaildirSafeError as error:
                yield f"event: trouble\ndata: {' '.join(printable(str(error)).split())}\n\n"
                await asyncio.sleep(5)
            else:
                yield f"data: {version}\n\n"

    headers = {"X-Accel-Buffering": "no"}  # else nginx keeps the events until it has many
    return StreamingResponse(stream(version), media_type="text/event-stream", headers=headers)


ROUTES = [
    Route("/", show_list),
    Route("/events", events),
]
