"""The application: routes, errors, and an HTTP server that runs beside the SMTP server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from maildir_safe._health.storage_check import StorageCheck
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._smtp.server.counters import Counters
from maildir_safe._web import api, mailpit, mailpit_message, metrics, pages
from maildir_safe._web.answers import ResponseBudget
from maildir_safe._web.connections import BoundedProtocol
from maildir_safe._web.guard import Guard
from maildir_safe._web.inbox import Inbox, printable
from maildir_safe._web.mailpit_entries import Entries
from maildir_safe.errors import MaildirSafeError


def application(
    maildir: Maildir,
    addresses: list[str] | None = None,
    counters: Counters | None = None,
    check: StorageCheck | None = None,
) -> Starlette:
    """The inbox as an ASGI application. It answers every request, so put it behind a `Guard`.

    Args:
        maildir: the Maildir to show.
        addresses: the addresses that accept mail, shown on an empty page.
        counters: the counts for the metrics.
        check: tells whether mail can be stored; by default it is not asked.
    """
    static = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    handlers = {
        KeyError: _gone,
        MaildirSafeError: _trouble,
        OSError: _trouble,
        HTTPException: _wrong,
        Exception: _broken,
    }
    ours, mailpits = [*pages.ROUTES, *api.ROUTES, *metrics.ROUTES], [*mailpit.ROUTES, *mailpit_message.ROUTES]
    app = Starlette(routes=[*ours, *mailpits, static], exception_handlers=handlers)
    app.router.redirect_slashes = False  # DELETE /api/messages/ must not become "delete all"
    app.state.inbox = Inbox(maildir)
    app.state.entries = Entries(app.state.inbox)
    app.state.sending = asyncio.Semaphore(2)  # a request may be 36 MiB long
    app.state.response_budget = ResponseBudget()
    app.state.addresses = addresses or []
    app.state.counters = counters or Counters()
    app.state.check = check or StorageCheck({})
    return app


def _error(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    path = request.url.path
    if path == "/api/v1/send":
        return JSONResponse({"Error": text}, status, headers)
    if path.startswith(("/api/v1/", "/view/")):  # as Mailpit answers
        return PlainTextResponse(text, status, headers)
    if path.startswith("/api/"):
        return JSONResponse({"error": text}, status, headers)
    return pages.error_page(request, status, text, headers)


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return _error(request, 404, "There is no such message; it may have been deleted.")


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


async def serve_page(
    maildir: Maildir,
    sock: socket.socket,
    addresses: list[str],
    counters: Counters,
    hosts: Collection[str],
    check: StorageCheck,
) -> None:
    """Serve the inbox until cancelled.

    Args:
        maildir: the Maildir to show.
        sock: a listening socket.
        addresses: the addresses that accept mail, shown on an empty page.
        counters: the counts for the metrics.
        hosts: names under which the page is served, besides addresses and this machine's own name.
        check: tells whether mail can be stored.
    """
    app = application(maildir, addresses, counters, check)
    config = uvicorn.Config(
        Guard(app, hosts),
        http=BoundedProtocol,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([sock]))
    try:
        await asyncio.shield(serving)
    finally:
        app.state.inbox.close()
        server.should_exit = True
        await serving
