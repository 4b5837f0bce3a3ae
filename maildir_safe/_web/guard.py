"""Who may ask: this server's own pages and programs, not whatever page a browser has open.

A page elsewhere can make a browser send requests to 127.0.0.1, and with a name of its own that it
lets point there (DNS rebinding) even read the answers. Its requests carry that name as their Host,
and where they come from as their Origin or Sec-Fetch-Site.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:;"
    " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # a window that a link of a mail opens has no window.opener, whatever the link asks for
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""For every answer that does not bring its own."""


class Guard:
    """Refuses strange hosts and other sites' requests, and adds `HEADERS`.

    Args:
        app: what is guarded.
        hosts: names under which it is served besides addresses and this machine's own name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        own = socket.gethostname().lower()
        self._names = {"localhost", own, own.partition(".")[0], *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else ""
        if refusal:
            await _refused(scope["path"], refusal)(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] += [header for header in ours if header[0] not in there]
            await send(message)

        await self._app(scope, receive, add_headers)

    def _refusal(self, request: Request) -> str:
        host = request.url.hostname or ""
        if not self._cannot_be_rebound(host):
            return (
                f"{host!r} is not a name of this machine: use its address, also as the Host that a proxy"
                " sends, or start the server with --web-host."
            )
        return "" if _from_here(request) else "This request comes from another site's page."

    def _cannot_be_rebound(self, host: str) -> bool:
        """Whether no stranger can let this name point here.

        That is an address or a name that was given. A name without dots is not enough: whoever answers
        for the local network, or for a search domain, decides where it points.
        """
        if host.removesuffix(".") in self._names:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


def _refused(path: str, text: str) -> Response:
    if path.startswith("/api/"):
        return JSONResponse({"error": text}, 403, HEADERS)
    return PlainTextResponse(text + "\n", 403, HEADERS)


def _from_here(request: Request) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site:  # of a browser, and no page can change it; not sent to plain http beyond this machine
        link = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        return site in ("same-origin", "none") or link
    return not origin or urlsplit(origin).netloc == request.url.netloc
