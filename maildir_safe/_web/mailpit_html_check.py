"""Mailpit's check of a message's HTML: GET /api/v1/message/ID/html-check."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maildir_safe._mail.client_features import DETECTED, used
from maildir_safe._mail.client_support import ClientResult, Feature, features, platforms
from maildir_safe._mail.message import read_mail
from maildir_safe._web.mailpit import entries_of
from maildir_safe._web.mailpit_message import find_message
from maildir_safe._web.parameters import bad


async def html_check(request: Request) -> Response:
    """Get what mail clients do not support of a message's HTML and CSS, by the data of caniemail.com."""
    message = await find_message(request)
    inbox = entries_of(request).inbox
    found = await inbox.parse(message.key, lambda raw: report(read_mail(raw, images=False).html))
    if found is None:
        raise bad("message does not contain HTML")
    answer: Response = request.app.state.response_budget.json(found)
    return answer


def report(page: str | None) -> dict[str, Any] | None:
    """Mailpit's HTMLCheckResponse; None: there is no HTML."""
    if page is None:
        return None
    uses = used(page)
    nodes = max(uses.elements, 1)
    found = features(uses)
    partial = max((one.share("partial") * min(one.found / nodes, 1) for one in found), default=0.0)
    missing = max((one.share("no") * min(one.found / nodes, 1) for one in found), default=0.0)
    partial = min(partial, 100 - missing)
    return {
        "Total": {
            "Tests": len(DETECTED),
            "Nodes": uses.elements,
            "Supported": 100 - partial - missing,
            "Partial": partial,
            "Unsupported": missing,
        },
        "Warnings": [_warning(one) for one in found],
        "Platforms": platforms(),
    }


def _warning(feature: Feature) -> dict[str, Any]:
    return {
        "Slug": feature.slug,
        "Title": feature.title,
        "Description": feature.description,
        "URL": feature.url,
        "Category": feature.category,
        "Tags": feature.tags,
        "Keywords": "",
        "Results": [_result(one) for one in feature.results],
        "NotesByNumber": feature.notes,
        "Score": {
            "Found": feature.found,
            "Supported": feature.share("yes"),
            "Partial": feature.share("partial"),
            "Unsupported": feature.share("no"),
        },
    }


def _result(one: ClientResult) -> dict[str, str]:
    return {
        "Name": f"{one.name} ({one.version})",
        "Platform": one.platform,
        "Family": one.family,
        "Version": one.version,
        "Support": one.support,
        "NoteNumber": one.notes[0] if one.notes else "",
    }


ROUTES = [Route("/api/v1/message/{id}/html-check", html_check)]
