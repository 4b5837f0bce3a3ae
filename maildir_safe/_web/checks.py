"""The hints about a message, for programs: GET /api/messages/KEY/checks."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._mail.checks import checks, clients
from maildir_safe._mail.client_support import Feature
from maildir_safe._mail.message import read_mail
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.parameters import Query


async def get_checks(request: Request) -> Response:
    """Get the hints about one message: each with its id, whether it is good, and a text.

    `clients` has each feature of its HTML that some mail client does not support, by caniemail.com's data.
    """
    Query(request)
    inbox: Inbox = request.app.state.inbox
    message = await inbox.find(request.path_params["key"])

    def look(raw: bytes) -> dict[str, Any]:
        mail = read_mail(raw, images=False)
        return {
            "checks": [check._asdict() for check in checks(mail, len(raw))],
            "clients": [_support(feature) for feature in clients(mail)],
        }

    return JSONResponse(await inbox.parse(message.key, look))


def _support(feature: Feature) -> dict[str, Any]:
    return {
        "feature": feature.slug,
        "title": feature.title,
        "url": feature.url,
        "found": feature.found,
        "unsupported": feature.names("no"),
        "partial": feature.names("partial"),
    }


ROUTES = [Route("/api/messages/{key}/checks", get_checks)]
