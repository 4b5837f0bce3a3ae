"""The hints about a message, for programs: GET /api/messages/KEY/checks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._mail.checks import checks
from maildir_safe._mail.message import read_mail
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.parameters import Query


async def get_checks(request: Request) -> Response:
    """Get the hints about one message: each with its id, whether it is good, and a text."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])
    found = await inbox.parse(message.key, lambda raw: checks(read_mail(raw, images=False), len(raw)))
    return JSONResponse({"checks": [check._asdict() for check in found]})


ROUTES = [Route("/api/messages/{key}/checks", get_checks)]
