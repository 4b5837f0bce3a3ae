"""The application: routes, errors, and a server to run it beside the SMTP server."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from maildir_safe.errors import MaildirSafeError
from maildir_safe.maildir import Maildir
from maildir_safe.web import api, pages
from maildir_safe.web.guard import Guard
from maildir_safe.web.inbox import Inbox


def application(maildir: Maildir, host: str, addresses: list[str] | None = None) -> ASGIApp:
    """The inbox as an ASGI application.

    Args:
        maildir: what is shown.
        host: the name or address it is served under; see `Guard`.
        addresses: where mail is taken, told on an empty page.
    """
    static = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    handlers = {KeyError: _gone, MaildirSafeError: _trouble}
    app = Starlette(routes=[*pages.ROUTES, *api.ROUTES, static], exception_handlers=handlers)
    app.router.redirect_slashes = False  # DELETE /api/messages/ must not become "delete all"
    app.state.inbox = Inbox(maildir)
    app.state.addresses = addresses or []
    return Guard(app, host)


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    text = "There is no such message; it may have been deleted."
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": text}, 404)
    return PlainTextResponse(text + "\n", 404)


async def _trouble(request: Request, error: Exception) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": str(error)}, 503)
    return PlainTextResponse(f"{error}\n", 503)


class Page(uvicorn.Server):
    """The inbox on a socket, run as a task among others; SIGTERM is theirs."""

    def __init__(self, app: ASGIApp, sock: socket.socket) -> None:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
        super().__init__(config)
        self._sockets = [sock]

    def install_signal_handlers(self) -> None:
        """None: the process has its own."""

    async def run_beside(self) -> None:
        """Serve until cancelled."""
        await self._serve(self._sockets)
