"""Who may ask: this machine's own pages and programs, not whatever page a browser has open.

A page elsewhere can make a browser send requests to 127.0.0.1. So the Host must be one that is
meant (against DNS rebinding), and what changes something must not come from another origin.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL = {"127.0.0.1", "localhost", "::1"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:;"
    " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""For every answer that does not bring its own."""


class Guard:
    """Refuses strange hosts and strange origins, and adds `HEADERS`.

    Args:
        app: what is guarded.
        host: the address that is listened on; its name is allowed besides this machine's own. An
            address that stands for all of them allows every host: whoever chose it has a proxy.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._hosts = None if host in ("0.0.0.0", "::") else _LOCAL | {host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal:
            await PlainTextResponse(refusal, 403, HEADERS)(scope, receive, send)
            return

        async def add_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                assert isinstance(headers, list)
                there = {name.lower() for name, _ in headers}
                headers += [
                    (name.lower().encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.lower().encode() not in there
                ]
            await send(message)

        await self._app(scope, receive, add_headers)  # type: ignore[arg-type]

    def _refusal(self, request: Request) -> str:
        host = request.url.hostname or ""
        if self._hosts is not None and host not in self._hosts:
            return f"The host {host!r} is not one that this page is served for.\n"
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != request.url.netloc:
            return "This request comes from another site's page.\n"
        return ""
