"""What was said on the last SMTP connections: a page, and GET /api/sessions."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._smtp.server.transcripts import MOST_SESSIONS, Transcript, Transcripts
from maildir_safe._web.pages import page_of, swaks
from maildir_safe._web.parameters import Query


async def show_sessions(request: Request) -> Response:
    """Show the last connections, the newest first."""
    Query(request)
    context = {"sessions": _newest(request), "most": MOST_SESSIONS, "swaks": swaks(request)}
    return page_of(request, "sessions.html", context)


async def list_sessions(request: Request) -> Response:
    """List the last connections, the newest first; `limit` of them."""
    most = Query(request, "limit").integer("limit", MOST_SESSIONS, MOST_SESSIONS)
    answer: Response = JSONResponse({"sessions": [_entry(one) for one in _newest(request)[:most]]})
    return answer


def _newest(request: Request) -> list[Transcript]:
    found: Transcripts | None = request.app.state.transcripts
    if found is None:
        raise HTTPException(404, "Sessions are remembered by a test server (no --map) with one worker only.")
    return found.newest


def _entry(one: Transcript) -> dict[str, Any]:
    return {
        "number": one.number,
        "peer": one.peer,
        "protocol": one.protocol,
        "began": one.began,
        "open": one.open,
        "refusals": one.refusals,
        "left_out": one.left_out,
        "lines": [line._asdict() for line in one.lines],
    }


ROUTES = [Route("/sessions", show_sessions), Route("/api/sessions", list_sessions)]
