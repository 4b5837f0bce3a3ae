"""Large responses: sent in pieces, as fast as the client reads, and never too many in memory at once."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

_PIECE = 64 << 10
_SMALL = 256 << 10
MOST_HELD = 128 << 20
"""Most bytes of large pages that are being sent, all together."""


class ResponseBudget:
    """Counts and limits the bytes of large pages that wait in memory for slow clients.

    Attributes:
        held: bytes held now.
    """

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most = most
        self.held = 0

    def html(self, page: str, headers: dict[str, str] | None = None) -> Response:
        """A response with an HTML page. Raises HTTPException: 503, the budget is used up."""
        return self._answer(HTMLResponse(page, headers=headers))

    def json(self, what: dict[str, Any]) -> Response:
        """A response with a JSON object. Raises HTTPException: 503, the budget is used up."""
        return self._answer(JSONResponse(what))

    def content(self, data: bytes, content_type: str, headers: dict[str, str]) -> Response:
        """A response with some bytes. Raises HTTPException: 503, the budget is used up."""
        return self._answer(Response(data, media_type=content_type, headers=headers))

    def _answer(self, answer: Response) -> Response:
        body = bytes(answer.body)
        if len(body) <= _SMALL:
            return answer
        if self.held + len(body) > self._most:
            raise HTTPException(503, "too many large pages are being sent; try again")
        self.held += len(body)
        headers = dict(answer.headers)
        return _Held(self, body, headers=headers)


class _Held(StreamingResponse):
    """A response that gives its bytes back to the budget when it was sent or the client is gone."""

    def __init__(self, budget: ResponseBudget, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(self._pieces(body), headers=headers)
        self._budget, self._size = budget, len(body)

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), _PIECE):
            yield body[at : at + _PIECE]

    async def __call__(self, *args: Any) -> None:
        """See ASGI."""
        try:
            await super().__call__(*args)
        finally:
            self._budget.held -= self._size


def pieces(file: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file from `start` to `end`, then close it. Raises OSError: it ends before."""
    with file:
        file.seek(start)
        left = float("inf") if end is None else end - start
        while left > 0 and (piece := file.read(int(min(_PIECE, left)))):
            left -= len(piece)
            yield piece
        if end is not None and left > 0:
            raise OSError(errno.EIO, f"{left} bytes are missing at the end")


async def begun(data: Iterator[bytes]) -> Iterator[bytes]:
    """Read the first piece now: if that fails, there is no response yet, and the error has its own status.

    If a later piece fails, `BoundedProtocol` resets the connection.
    """
    first = await asyncio.to_thread(next, data, b"")
    return itertools.chain([first], data)


def download(data: Iterator[bytes], content_type: str, name: str) -> Response:
    """A response that a browser saves to a file. The name is the sender's, as a proposal."""
    return StreamingResponse(data, media_type=content_type, headers=saved_as(name))


def saved_as(name: str) -> dict[str, str]:
    """Headers of a response that a browser saves to a file with this name (RFC 6266)."""
    last = name.replace("\\", "/").rpartition("/")[2]
    safe = "".join(c for c in last if c.isprintable()).lstrip(".") or "attachment"
    return {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(safe[:150], safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
