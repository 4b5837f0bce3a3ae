"""What a person sees: the list, a message, and the events that keep the list fresh."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from maildir_safe._web.api import line, number, page_of
from maildir_safe._web.inbox import Closed, Inbox, printable
from maildir_safe._web.mail import Mail, take_apart
from maildir_safe.errors import MaildirSafeError

_PAGE = 50
_MOST_SOURCE = 1 << 20
_templates = Jinja2Templates(Path(__file__).parent / "templates")


def when(seconds: float) -> Markup:
    """A time for people: in UTC, which the script replaces by theirs."""
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
    return (
        f"{count} B"
        if count < 1024
        else f"{count / 1024:.1f} KiB"
        if count < 1 << 20
        else f"{count / (1 << 20):.1f} MiB"
    )


_templates.env.filters.update(when=when, size=size)


async def show_list(request: Request) -> Response:
    """The list; with `rows` in the query only its rows, for the script that keeps it fresh."""
    inbox: Inbox = request.app.state.inbox
    shown, total, complete = await page_of(inbox, request, _PAGE)
    lines = await asyncio.to_thread(lambda: [line(inbox, message) for message in shown])
    offset = int(number(request, "offset", 0, 1e9))
    context: dict[str, Any] = {
        "lines": lines,
        "total": total,
        "complete": complete,
        "search": request.query_params.get("search", ""),
        "offset": offset,
        "older": offset + _PAGE if offset + _PAGE < total else None,
        "newer": max(offset - _PAGE, 0) if offset else None,
        "path": printable(inbox.maildir.path),
        "version": inbox.version,
        "addresses": request.app.state.addresses,
    }
    name = "rows.html" if "rows" in request.query_params else "list.html"
    return _templates.TemplateResponse(request, name, context)


async def show_message(request: Request) -> Response:
    """A message; opening it marks it as read."""
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    mail, source, size = await inbox.apart(
        message.key, lambda raw: (take_apart(raw), raw[:_MOST_SOURCE].decode("utf-8", "replace"), len(raw))
    )
    if "S" not in message.flags:
        with contextlib.suppress(MaildirSafeError):  # where nothing can be written, it can be read
            message = await asyncio.to_thread(inbox.maildir.set_flags, message.key, message.flags + "S")
            inbox.forget()
    views = [view for view, there in _views(mail) if there]
    wanted = request.query_params.get("view", "")
    usual = "source" if mail.broken else views[0]
    messages = await inbox.messages()
    at = next((n for n, other in enumerate(messages) if other.key == message.key), 0)
    context = {
        **await asyncio.to_thread(line, inbox, message),
        "mail": mail,
        "views": views,
        "view": wanted if wanted in views else usual,
        "remote": "remote" in request.query_params,
        "source": source,
        "cut": size > _MOST_SOURCE,
        "newer": printable(messages[at - 1].key) if at else None,
        "older": printable(messages[at + 1].key) if at + 1 < len(messages) else None,
        "size": size,
    }
    return _templates.TemplateResponse(request, "message.html", context)


def _views(mail: Mail) -> list[tuple[str, bool]]:
    return [
        ("html", mail.html is not None),
        ("text", mail.text is not None),
        ("headers", True),
        ("source", True),
    ]


async def show_html(request: Request) -> Response:
    """The HTML of a message, for a sandboxed frame: no scripts, no forms, nothing loaded unless asked.

    A link opens a window of its own, which knows nothing of this one.
    """
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    remote = " https: http:" if "remote" in request.query_params else ""
    policy = (
        f"sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:{remote};"
        f" style-src 'unsafe-inline'{remote}; font-src data:{remote}; form-action 'none'; base-uri 'none';"
        " frame-ancestors 'self'"
    )
    page = await inbox.apart(message.key, lambda raw: _framed(take_apart(raw).html or "", bool(remote)))
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def _framed(html: str, remote: bool) -> str:
    if not remote:  # chromium connects for an <iframe> before it asks the policy; <link> can look names up
        html = re.sub(r"<(?=(?:link|i?frame)\b)", "&lt;", html, flags=re.IGNORECASE)
    return f'<!doctype html><base target="_blank">{html}'


async def toggle(request: Request) -> Response:
    """Mark a message as read or unread (S), or with a star or without (F)."""
    inbox: Inbox = request.app.state.inbox
    key, flag = request.path_params["key"], request.path_params["flag"]
    message = await inbox.find(key)
    flags = message.flags
    if flag not in ("S", "F"):
        return PlainTextResponse("The flags are S and F.\n", 404)
    changed = flags.replace(flag, "") if flag in flags else flags + flag
    await asyncio.to_thread(inbox.maildir.set_flags, message.key, changed)
    inbox.forget()
    return RedirectResponse("/" if flag == "S" else f"/message/{quote(key)}", 303)


async def delete(request: Request) -> Response:
    """Remove a message, or all of them, from the page's buttons."""
    inbox: Inbox = request.app.state.inbox
    key = request.path_params.get("key")
    messages = [await inbox.find(key)] if key else await inbox.messages()
    await asyncio.to_thread(lambda: [inbox.maildir.discard(message.key) for message in messages])
    inbox.forget()
    return RedirectResponse("/", 303)


async def events(request: Request) -> Response:
    """A line whenever the Maildir has changed (server-sent events)."""
    inbox: Inbox = request.app.state.inbox

    async def stream() -> AsyncIterator[str]:
        version = int(number(request, "version", 0, 1e15))
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

    return StreamingResponse(stream(), media_type="text/event-stream")


ROUTES = [
    Route("/", show_list),
    Route("/events", events),
    Route("/delete", delete, methods=["POST"]),
    Route("/message/{key}", show_message),
    Route("/message/{key}/html", show_html),
    Route("/message/{key}/toggle/{flag}", toggle, methods=["POST"]),
    Route("/message/{key}/delete", delete, methods=["POST"]),
]
