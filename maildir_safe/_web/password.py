"""Basic authentication (RFC 7617) with the file of names and passwords that AUTH uses too."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from maildir_safe._smtp.protocol.auth import Passwords
from maildir_safe._smtp.server.throttle import Guesses

OPEN = ("/health", "/ready", "/livez", "/readyz")
"""Paths that need no password: load balancers and containers ask them."""

_HASHING = 2  # passwords checked at a time; each check takes 16 MiB and a core
_LONGEST = 2000  # characters of the header
_REMEMBERED = 1000
_VALID_FOR = 600.0  # seconds
_ASK = {"WWW-Authenticate": 'Basic realm="maildir-safe", charset="UTF-8"', "Cache-Control": "no-store"}


class PasswordDoor:
    """Answers 401 to requests without a right name and password.

    A check takes about 40 ms of CPU, so a right password is remembered for ten minutes, by a hash whose key
    only this process has. The answer to a wrong one is delayed, and each further one from the same address
    is delayed longer.

    Args:
        app: the application behind it.
        passwords: who may enter.
    """

    def __init__(self, app: ASGIApp, passwords: Passwords) -> None:
        self._app, self._passwords = app, passwords
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}
        self._hashing = asyncio.Semaphore(_HASHING)
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if path in OPEN or await self._may_enter(scope):
            await self._app(scope, receive, send)
        else:
            await _refused(path)(scope, receive, send)

    async def _may_enter(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        credentials = _credentials(given)
        if credentials is None:
            return False
        digest = hmac.digest(self._key, given.encode("latin-1"), hashlib.sha256)
        if self._right.get(digest, 0.0) > time.monotonic():
            return True
        async with self._hashing:
            right = await asyncio.to_thread(self._passwords.check, *credentials)
        peer = scope["client"][0] if scope.get("client") else ""
        if not right:
            await asyncio.sleep(self._guesses.wrong(peer))
            return False
        self._guesses.forget(peer)
        if len(self._right) >= _REMEMBERED:
            self._right.clear()
        self._right[digest] = time.monotonic() + _VALID_FOR
        return True


def _credentials(given: str) -> tuple[str, str] | None:
    """The name and the password in the header; None if it has none, or they are malformed."""
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "basic" or len(given) > _LONGEST:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return (name, password) if colon else None


def _refused(path: str) -> Response:
    text = "A name and a password are required."
    if path.startswith("/api/") and not path.startswith("/api/v1/"):
        return JSONResponse({"error": text}, 401, _ASK)
    return PlainTextResponse(text + "\n", 401, _ASK)
