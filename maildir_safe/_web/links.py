"""The links and codes of a message, for tests of sign-ups and passwords.

GET /api/messages/KEY/links         GET /api/v1/message/ID/links
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._mail.links import codes, links
from maildir_safe._mail.message import read_mail
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailpit_message import find_message
from maildir_safe._web.parameters import Query
from maildir_safe._web.placed import Placed


async def get_links(request: Request) -> Response:
    """Get the links of one message, its codes of six digits, and the first of these."""
    Query(request)
    inbox: Inbox = request.app.state.inbox
    return await _answer(inbox, await inbox.find(request.path_params["key"]))


async def get_links_by_id(request: Request) -> Response:
    """Get the links of one message, its codes of six digits, and the first of these."""
    return await _answer(request.app.state.inbox, await find_message(request))


async def _answer(inbox: Inbox, message: Placed) -> Response:
    def found(raw: bytes) -> dict[str, Any]:
        mail = read_mail(raw, images=False)
        numbers = codes(mail)
        return {"links": links(mail), "codes": numbers, "code": numbers[0] if numbers else None}

    return JSONResponse(await inbox.parse(message.key, found))


ROUTES = [
    Route("/api/messages/{key}/links", get_links),
    Route("/api/v1/message/{id}/links", get_links_by_id),
]
