"""The application: routes, errors, and an HTTP server that runs beside the SMTP server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from maildir_safe._health.storage_check import StorageCheck
from maildir_safe._mailbox_tree import MailboxTree
from maildir_safe._mailboxes import open_as_owner
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._smtp.faults.chaos import Chaos
from maildir_safe._smtp.server.counters import Counters
from maildir_safe._smtp.server.page import PageSetup
from maildir_safe._smtp.server.relay import Relay
from maildir_safe._smtp.server.transcripts import Transcripts
from maildir_safe._web import (
    api,
    checks,
    faults,
    links,
    mailhog,
    mailpit,
    mailpit_chaos,
    mailpit_events,
    mailpit_html_check,
    mailpit_message,
    mailpit_release,
    message_page,
    metrics,
    openapi,
    page_changes,
    pages,
    parts,
    sessions,
)
from maildir_safe._web.answers import ResponseBudget
from maildir_safe._web.connections import BoundedProtocol
from maildir_safe._web.guard import Guard
from maildir_safe._web.inbox import Inbox, NoSuchBox
from maildir_safe._web.index_filling import keep_filling
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe._web.mailpit_entries import Entries
from maildir_safe._web.ordering import printable
from maildir_safe._web.password import PasswordDoor
from maildir_safe._web.prefix import Prefix
from maildir_safe._web.tls_door import TlsDoor
from maildir_safe._web.trash import Trash, keep_emptying
from maildir_safe.errors import MaildirSafeError

if not hasattr(uvicorn.Server, "capture_signals"):  # its server would never answer: Debian 12 has 0.17
    raise ImportError("the inbox page needs uvicorn 0.30 or later")


def application(
    shown: Maildir | MailboxSet,
    addresses: list[str] | None = None,
    counters: Counters | None = None,
    check: StorageCheck | None = None,
    chaos: Chaos | None = None,
    transcripts: Transcripts | None = None,
    relay: Relay | None = None,
) -> Starlette:
    """The inbox as an ASGI application. It answers every request, so put it behind a `Guard`.

    Args:
        shown: the Maildir or the mailboxes to show.
        addresses: the addresses that accept mail, shown on an empty page.
        counters: the counts for the metrics.
        check: tells whether mail can be stored; by default it is not asked.
        chaos: the random refusals of the SMTP server; None: it has none.
        transcripts: what was said on its last connections; None: nobody remembers.
        relay: where programs may release messages to; None: nowhere.
    """
    static = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    handlers = {
        NoSuchBox: _no_mailbox,
        KeyError: _gone,
        MaildirSafeError: _trouble,
        OSError: _trouble,
        HTTPException: _wrong,
        Exception: _broken,
    }
    ours = [
        *pages.ROUTES,
        *message_page.ROUTES,
        *page_changes.ROUTES,
        *parts.ROUTES,
        *sessions.ROUTES,
        *faults.ROUTES,
        *api.ROUTES,
        *links.ROUTES,
        *checks.ROUTES,
        *metrics.ROUTES,
        *openapi.ROUTES,
    ]
    others = [
        *mailpit.ROUTES,
        *mailpit_message.ROUTES,
        *mailpit_chaos.ROUTES,
        *mailpit_events.ROUTES,
        *mailpit_html_check.ROUTES,
        *mailpit_release.ROUTES,
        *mailhog.ROUTES,
    ]
    app = Starlette(routes=[*ours, *others, static], exception_handlers=handlers)
    app.router.redirect_slashes = False  # DELETE /api/messages/ must not become "delete all"
    app.state.inbox = Inbox(MailboxSet.of(shown) if isinstance(shown, Maildir) else shown)
    app.state.entries = Entries(app.state.inbox)
    app.state.events = mailpit_events.Events(app.state.entries)
    app.state.trash = Trash(app.state.inbox)
    app.state.relay = relay
    app.state.releasing = asyncio.Semaphore(2)  # each holds a message, while a server may be slow
    app.state.sending = asyncio.Semaphore(2)  # a request may be 36 MiB long
    app.state.response_budget = ResponseBudget()
    app.state.addresses = addresses or []
    app.state.counters = counters or Counters()
    app.state.check = check or StorageCheck({})
    app.state.chaos = chaos
    app.state.transcripts = transcripts
    app.state.script = lambda: None
    app.state.smtp = ""
    return app


def _error(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if path == "/api/v1/send":
        return JSONResponse({"Error": text}, status, headers)
    if path.startswith(("/api/v1/", "/view/")):  # as Mailpit answers
        return PlainTextResponse(text, status, headers)
    if path.startswith("/api/"):
        return JSONResponse({"error": text}, status, headers)
    return pages.error_page(request, status, text, headers)


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _error(request, 404, "There is no such message; it may have been deleted.")


async def _no_mailbox(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _error(request, 404, "There is no such mailbox, or no mail for it has arrived.")


async def _trouble(request: Request, error: Exception) -> Response:
    return _error(request, 503, printable(str(error)))


async def _wrong(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, error.detail, dict(error.headers or {}))


async def _broken(request: Request, error: Exception) -> Response:  # noqa: ARG001 - it is logged
    return _error(request, 500, "Internal error; see the server's log.")


class _Server(uvicorn.Server):
    """An HTTP server that leaves signal handling to its process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


def shown_mailboxes(setup: PageSetup) -> MailboxSet:
    """The mailboxes that a page shows."""
    if not setup.template:
        return MailboxSet.of(open_as_owner(setup.root))
    return MailboxSet(MailboxTree(setup.root, setup.template), mailboxes=setup.mailboxes)


def _protocol(setup: PageSetup) -> Any:
    if setup.tls is None:
        return BoundedProtocol
    return functools.partial(TlsDoor, setup.tls, dict[TlsDoor, None]())


async def serve_page(setup: PageSetup) -> None:
    """Serve the inbox until cancelled."""
    app = application(
        shown_mailboxes(setup),
        setup.addresses,
        setup.counters,
        setup.check,
        setup.chaos,
        setup.transcripts,
        setup.relay,
    )
    app.state.script, app.state.smtp = setup.script, setup.smtp
    guarded: ASGIApp = PasswordDoor(app, setup.passwords) if setup.passwords else app
    config = uvicorn.Config(
        Prefix(Guard(guarded, setup.hosts), setup.prefix),
        http=_protocol(setup),
        lifespan="off",
        ws_max_size=1024,  # what a listener sends is dropped
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([setup.sock]))
    counted = setup.counters
    filling = asyncio.create_task(keep_filling(app.state.inbox, lambda: sum(counted.messages.values())))
    emptying = asyncio.create_task(keep_emptying(app.state.trash, app.state.inbox))
    try:
        await asyncio.shield(serving)
    finally:
        app.state.inbox.close()
        server.should_exit = True
        await serving
        await filling
        await emptying
