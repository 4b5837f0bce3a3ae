"""The pages for people: the list, a message, and the events that keep the list fresh."""

from __future__ import annotations

import asyncio
import contextlib
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

from maildir_safe._mail.checks import checks
from maildir_safe._mail.html import loads_anything, without_connections
from maildir_safe._mail.links import codes, links, with_links
from maildir_safe._mail.message import Mail, read_mail
from maildir_safe._web.api import find_messages, list_entries, list_entry
from maildir_safe._web.box import Box
from maildir_safe._web.guard import HEADERS
from maildir_safe._web.inbox import Closed, Inbox
from maildir_safe._web.ordering import is_unread, printable
from maildir_safe._web.parameters import Query, bad
from maildir_safe._web.parts import kind_of, tree
from maildir_safe._web.trash import MOST, Trash
from maildir_safe.errors import MaildirSafeError

_PAGE = 50
_FURTHEST = 10**9
_LINK = '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>'
_MOST_SOURCE = 1 << 20
_VIEWS = ("html", "text", "headers", "parts", "source", "checks")
_ALSO = ("reply-to", "bcc", "date", "message-id")
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
_templates.env.globals.update(kind_of=kind_of)
_templates.env.globals.update(address=address)


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


async def show_message(request: Request) -> Response:
    """Show a message, and mark it as read."""
    inbox: Inbox = request.app.state.inbox
    query = Query(request, "view", "remote", "search", "mailbox", "offset")
    box = await inbox.box(query.text("mailbox"))
    search, wanted = query.text("search").strip(), query.text("view")
    if wanted and wanted not in _VIEWS:
        raise bad(f"view: {wanted[:100]!r} is not one of {', '.join(_VIEWS)}")
    message = await inbox.find(request.path_params["key"])
    found = (await find_messages(inbox, box, search))[0]
    at = found.number(message.key)
    mail, source, length, parts = await inbox.parse(
        message.key,
        lambda raw: (
            read_mail(raw),
            raw[:_MOST_SOURCE].decode("utf-8", "replace"),
            len(raw),
            tree(raw) if wanted == "parts" else [],
        ),
    )
    if is_unread(message):
        with contextlib.suppress(MaildirSafeError):  # on a read-only mount the message can still be read
            await asyncio.to_thread(inbox.maildir.set_flags, message.key, message.flags + "S")
            inbox.forget()
            message = await inbox.find(printable(message.key))
    views = [view for view in _VIEWS if _has(mail, view)]
    context = {
        **await asyncio.to_thread(list_entry, inbox, message),
        "mail": mail,
        "views": views,
        "view": wanted if wanted in views else views[0],
        "remote": "remote" in query,
        "has_remote": loads_anything(mail.html or ""),
        "search": search,
        "offset": query.integer("offset", 0, _FURTHEST),
        "also": _first_of(mail),
        "codes": codes(mail)[:5],
        "parts": parts,
        "box": printable(box.name),
        "alone": inbox.maildir.alone,
        "source": source,
        "cut": length > _MOST_SOURCE,
        "newer": printable(found[at - 1].key) if at else None,
        "older": printable(found[at + 1].key) if at is not None and at + 1 < len(found) else None,
        "size": length,
        "checks": checks(mail, length) if wanted == "checks" else [],
        "links": links(mail) if wanted == "checks" else [],
    }
    page = _templates.get_template("message.html").render({"request": request, **context})
    policy = HEADERS["Content-Security-Policy"].replace("img-src data:", "img-src 'self' data:")
    answer: Response = request.app.state.response_budget.html(page, {"Content-Security-Policy": policy})
    return answer


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
    remote = "remote" in Query(request, "remote")
    message = await inbox.find(request.path_params["key"])
    sources = " https: http:" if remote else ""
    policy = (
        "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox; default-src 'none';"
        f" img-src data:{sources};"
        f" style-src 'unsafe-inline'{sources}; font-src data:{sources}; form-action 'none';"
        " base-uri 'none'; frame-ancestors 'self'"
    )
    page = await inbox.parse(message.key, lambda raw: _framed(read_mail(raw).html or "", remote))
    headers = {"Content-Security-Policy": policy}
    answer: Response = request.app.state.response_budget.html(page, headers)
    return answer


def _framed(html: str, remote: bool) -> str:
    return f'<!doctype html><base target="_blank">{html if remote else without_connections(html)}'


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
    Route("/message/{key}", show_message),
    Route("/message/{key}/html", show_html),
]
