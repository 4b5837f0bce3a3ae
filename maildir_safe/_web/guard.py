"""Accepts requests of this server's own pages and of programs, and refuses those of other sites' pages.

A foreign page can make a browser send requests to 127.0.0.1. If the page's host name is made to
resolve to 127.0.0.1 (DNS rebinding), the page can even read the responses. Such requests carry that
name as their Host, and the page's origin as their Origin or Sec-Fetch-Site.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:;"
    " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # a window opened by a link in a mail gets no window.opener, whatever the link asks for
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers for every response that does not set them itself."""

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:/?#@\\]+))(?::[0-9]{1,5})?")


class Guard:
    """Refuses unknown host names and requests of other sites, and adds `HEADERS`.

    Args:
        app: the application to guard.
        hosts: names under which it is served, besides addresses and this machine's own name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        own = socket.gethostname().lower()
        self._names = {"localhost", own, own.partition(".")[0], *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        refusal = self._refusal(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else ""
        if refusal:
            await _refused(_path(scope), refusal)(scope, receive, send)
            return

        async def add_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] += [header for header in ours if header[0] not in there]
            await send(message)

        await self._app(scope, receive, add_headers)

    def _refusal(self, request: HTTPConnection) -> str:
        given = request.headers.get("host")  # not request.url: that replaces a malformed host by our own
        found = None if given is None else _HOST.fullmatch(given)
        host = ((found[1] or found[2]) if found else given or "").lower()
        if given is not None and not (found and self._cannot_be_rebound(host)):
            return (
                f"{host!r} is not a name of this machine: use its address, also as the Host that a proxy"
                " sends, or start the server with --web-host."
            )
        return "" if _from_here(request) else "This request comes from another site's page."

    def _cannot_be_rebound(self, host: str) -> bool:
        """Whether no stranger can make this host name resolve to this machine.

        True for an address and for a configured name. A name without dots is not safe: the local
        network's name service, or the owner of a search domain, decides where it points.
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


def _path(scope: Scope) -> str:
    """The path below ``--web-root``."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _from_here(request: HTTPConnection) -> bool:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site:  # browsers set it, and pages cannot change it; not sent over plain http to other machines
        # another site's link opens a page, and not what costs much and is for programs
        link = request.scope.get("method") == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        link = link and not _path(request.scope).startswith("/api/")
        return site in ("same-origin", "none") or link
    return not origin or origin.partition("://")[2].lower() == request.headers.get("host", "").lower()
