"""The OpenAPI document of all requests that programs make: GET /api/openapi.json.

Paths, methods and texts are those of the routes. The table here adds what a route does not tell: the
parameters of its query, and the fields of its body.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._web.faults import FIELDS
from maildir_safe._web.parameters import Query

PATH = "/api/openapi.json"
_FOR_MONITORS = ("/health", "/ready", "/metrics", "/livez", "/readyz")
_PLACE = re.compile(r"\{(\w+)\}")
_TEXT, _WHOLE, _TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_SECONDS = {"type": "number", "minimum": 0, "maximum": 60}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**9}
_KINDS = {
    "limit": _COUNT,
    "offset": _COUNT,
    "start": _COUNT,
    "timeout": _SECONDS,
    "kind": {"type": "string", "enum": ["from", "to", "containing"]},
}
_LATEST = ("query", "tz")
_QUERIES: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/api/messages"): ("limit", "offset", "search", "mailbox"),
    ("DELETE", "/api/messages"): ("search", "upto", "mailbox"),
    ("GET", "/api/wait"): ("to", "subject", "after", "timeout", "mailbox"),
    ("GET", "/api/sessions"): ("limit",),
    ("GET", "/api/v1/messages"): ("start", "limit", "before"),
    ("PUT", "/api/v1/messages"): ("tz",),
    ("GET", "/api/v1/search"): ("query", "start", "limit", "before", "tz"),
    ("DELETE", "/api/v1/search"): ("query", "tz"),
    ("GET", "/api/v1/wait"): ("query", "timeout", "tz"),
    ("GET", "/api/v1/message/{id}"): _LATEST,
    ("GET", "/api/v1/message/{id}/headers"): _LATEST,
    ("GET", "/api/v1/message/{id}/html-check"): _LATEST,
    ("GET", "/api/v1/message/{id}/links"): _LATEST,
    ("POST", "/api/v1/message/{id}/release"): _LATEST,
    ("GET", "/api/v1/message/{id}/raw"): (*_LATEST, "dl"),
    ("GET", "/api/v1/message/{id}/part/{part}"): _LATEST,
    ("GET", "/view/{id}.html"): (*_LATEST, "embed"),
    ("GET", "/view/{id}.txt"): _LATEST,
    ("GET", "/api/v2/messages"): ("start", "limit"),
    ("GET", "/api/v2/search"): ("kind", "query", "start", "limit"),
}
_REQUIRED = {
    ("GET", "/api/v1/search"): ("query",),
    ("DELETE", "/api/v1/search"): ("query",),
    ("GET", "/api/v1/wait"): ("query",),
    ("GET", "/api/v2/search"): ("kind", "query"),
}
_TRIGGER = {
    "type": "object",
    "properties": {
        "ErrorCode": {"type": "integer", "minimum": 400, "maximum": 599},
        "Probability": {"type": "integer", "minimum": 0, "maximum": 100},
    },
    "additionalProperties": False,
}
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/faults"): {name: {"type": _JSON_TYPES[kind]} for name, kind in FIELDS.items()},
    ("PUT", "/api/v1/messages"): {"IDs": _TEXTS, "Read": _TRUTH, "Search": _TEXT},
    ("DELETE", "/api/v1/messages"): {"IDs": _TEXTS},
    ("POST", "/api/v1/message/{id}/release"): {"To": _TEXTS},
    ("PUT", "/api/v1/tags"): {"IDs": _TEXTS, "Tags": _TEXTS},
    ("PUT", "/api/v1/tags/{tag}"): {"Name": _TEXT},
    ("PUT", "/api/v1/chaos"): {"Sender": _TRIGGER, "Recipient": _TRIGGER, "Authentication": _TRIGGER},
}


def document(routes: Iterable[Any]) -> dict[str, Any]:
    """The OpenAPI document of the routes of programs; the pages for people are left out.

    Args:
        routes: all routes of the application.
    """
    from maildir_safe import __version__

    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, Route) and is_for_programs(route.path):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                paths.setdefault(route.path, {})[method.lower()] = _operation(method, route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "maildir-safe", "version": __version__},
        "paths": paths,
    }


def is_for_programs(path: str) -> bool:
    """Whether programs ask for a path; the other paths are pages for people."""
    return path.startswith(("/api/", "/view/")) or path in _FOR_MONITORS


def _operation(method: str, route: Route) -> dict[str, Any]:
    key = (method, route.path)
    text = inspect.getdoc(route.endpoint) or ""
    found: dict[str, Any] = {"summary": text.partition("\n")[0], "description": text}
    places = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _PLACE.findall(route.path)
    ]
    queries = [
        {
            "name": name,
            "in": "query",
            "required": name in _REQUIRED.get(key, ()),
            "schema": _KINDS.get(name, _TEXT),
        }
        for name in _QUERIES.get(key, ())
    ]
    found["parameters"] = [*places, *queries]
    if key in _BODIES or key == ("POST", "/api/v1/send"):
        found["requestBody"] = {"content": {"application/json": {"schema": _body(key)}}}
    answers = {"200": "the answer", "400": "a parameter or field is unknown or malformed; the text names it"}
    answers["503"] = "the Maildir cannot be read or changed now; try again"
    if places or route.path.endswith("/wait"):
        answers["404"] = "it is not there"
    found["responses"] = {code: {"description": text} for code, text in answers.items()}
    return found


def _body(key: tuple[str, str]) -> dict[str, Any]:
    if key not in _BODIES:
        return {"type": "object", "required": ["From"]}
    return {"type": "object", "properties": _BODIES[key], "additionalProperties": False}


async def get_document(request: Request) -> Response:
    """Get this document."""
    Query(request)
    return JSONResponse(document(request.app.routes))


ROUTES = [Route(PATH, get_document)]
