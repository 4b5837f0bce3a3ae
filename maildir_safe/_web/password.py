"""Basic authentication (RFC 7617) with the file of names and passwords that AUTH uses too."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import hashlib
import hmac
import secrets
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from maildir_safe._smtp.protocol.auth import Passwords
from maildir_safe._smtp.server.throttle import Guesses, PasswordChecks, TooManyTries

OPEN = ("/health", "/ready", "/livez", "/readyz")
"""Paths that need no password: load balancers and containers ask them."""

_LONGEST = 2000  # characters of the header
_REMEMBERED = 1000
_VALID_FOR = 600.0  # seconds
_ASK = {"WWW-Authenticate": 'Basic realm="maildir-safe", charset="UTF-8"', "Cache-Control": "no-store"}


class PasswordDoor:
    """Answers 401 to requests without a right name and password.

    A check takes about 40 ms of CPU, so a right password is remembered for ten minutes after its last use, by
    a hash whose key only this process has. The answer to a wrong one is delayed, and each further one from
    the same address is delayed longer. If too many wait to be checked, others are answered 503.

    Args:
        app: the application behind it.
        passwords: who may enter.
    """

    def __init__(self, app: ASGIApp, passwords: Passwords) -> None:
        self._app, self._passwords = app, passwords
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}
        self._checks = PasswordChecks()
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        answer = None if path in OPEN else await self._refusal(scope, receive, path)
        await (answer or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope, receive: Receive, path: str) -> Response | None:
        """The answer to who may not enter; None: this client may."""
        given = Headers(scope=scope).get("authorization", "")
        credentials = _credentials(given)
        if credentials is None:
            return _refused(path, "A name and a password are required.")
        digest = hmac.digest(self._key, given.encode("latin-1"), hashlib.sha256)
        if self._right.get(digest, 0.0) <= time.monotonic():
            peer = scope["client"][0] if scope.get("client") else ""
            check = functools.partial(self._passwords.check, *credentials)
            try:
                right = await self._checks.run(check, peer)
            except TooManyTries:
                return _refused(path, "Too many passwords are being checked; try again.", 503)
            if not right:
                await _delay(self._guesses.wrong(peer), receive)
                return _refused(path, "A name and a password are required.")
            self._guesses.forget(peer)
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
        self._right[digest] = time.monotonic() + _VALID_FOR
        return None


async def _delay(seconds: float, receive: Receive) -> None:
    """Wait, as long as the client does: who hangs up leaves nothing behind. What it sends is dropped."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
                pass


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


def _refused(path: str, text: str, status: int = 401) -> Response:
    headers = _ASK if status == 401 else {"Retry-After": "1", "Cache-Control": "no-store"}
    if path.startswith("/api/") and not path.startswith("/api/v1/"):
        return JSONResponse({"error": text}, status, headers)
    return PlainTextResponse(text + "\n", status, headers)
