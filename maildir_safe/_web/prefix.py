"""The page below a path, such as /mail, for a proxy that passes on a part of a site."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from maildir_safe._web.password import OPEN


class Prefix:
    """Takes requests below a path only, and those for the health checks at the root too.

    Args:
        app: the application; it finds the path in the scope's ``root_path``.
        path: the path, such as ``/mail``; ``""``: the root.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan" or not self._path or scope["path"] in OPEN:
            await self._app(scope, receive, send)
        elif scope["path"].startswith(f"{self._path}/"):
            await self._app({**scope, "root_path": self._path}, receive, send)
        elif scope["path"] == self._path:
            await RedirectResponse(f"{self._path}/", 307)(scope, receive, send)
        else:
            text = f"The page is below {self._path}/ (--web-root).\n"
            await PlainTextResponse(text, 404)(scope, receive, send)
