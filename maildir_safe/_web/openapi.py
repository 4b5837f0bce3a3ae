"""The OpenAPI document of all requests that programs make: GET /api/openapi.json.

Paths, methods and texts are those of the routes. The tables here add what a route does not tell: the
parameters of its query, the fields of its body, and what it answers.
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
from maildir_safe._web.openapi_shapes import (
    ERROR,
    JSON,
    OTHER,
    SEND,
    SEND_ERROR,
    TEXT,
    TEXTS,
    TRIGGERS,
    TRUTH,
    Shape,
    optional,
)
from maildir_safe._web.parameters import Query

PATH = "/api/openapi.json"
_FOR_MONITORS = ("/health", "/ready", "/metrics", "/livez", "/readyz")
_PLACE = re.compile(r"\{(\w+)\}")
_SECONDS = {"type": "number", "minimum": 0, "maximum": 60}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**9}
_KINDS = {
    "limit": _COUNT,
    "offset": _COUNT,
    "start": _COUNT,
    "timeout": _SECONDS,
    "kind": {"type": "string", "enum": ["from", "to", "containing"]},
    "dl": {"type": "string", "enum": ["", "0", "1"]},
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
_TRIGGER = optional(
    {
        "ErrorCode": {"type": "integer", "minimum": 400, "maximum": 599},
        "Probability": {"type": "integer", "minimum": 0, "maximum": 100},
    }
)
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_BODIES: dict[tuple[str, str], Shape] = {
    ("POST", "/api/faults"): optional({name: {"type": _JSON_TYPES[kind]} for name, kind in FIELDS.items()}),
    ("PUT", "/api/v1/messages"): optional({"IDs": TEXTS, "Read": TRUTH, "Search": TEXT}),
    ("DELETE", "/api/v1/messages"): optional({"IDs": TEXTS}),
    ("POST", "/api/v1/message/{id}/release"): optional({"To": TEXTS}),
    ("PUT", "/api/v1/tags"): optional({"IDs": TEXTS, "Tags": TEXTS}),
    ("PUT", "/api/v1/tags/{tag}"): optional({"Name": TEXT}),
    ("PUT", "/api/v1/chaos"): optional(dict.fromkeys(TRIGGERS.split(), _TRIGGER)),
    ("POST", "/api/v1/send"): SEND,
}
_JSON_ONLY = ("/api/faults", "/api/v1/send")
_TEXTS_OF_ERRORS = {
    "400": "a parameter or field is unknown or malformed; the text names it",
    "404": "it is not there",
    "408": "the request did not arrive within a minute",
    "413": "the request is too long",
    "503": "the Maildir cannot be read or changed now; try again",
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
        {"name": name, "in": "path", "required": True, "schema": TEXT} for name in _PLACE.findall(route.path)
    ]
    queries = [
        {
            "name": name,
            "in": "query",
            "required": name in _REQUIRED.get(key, ()),
            "schema": _KINDS.get(name, TEXT),
        }
        for name in _QUERIES.get(key, ())
    ]
    found["parameters"] = [*places, *queries]
    if key in _BODIES:
        kinds = ["application/json"]
        if route.path not in _JSON_ONLY:  # as cypress-mailpit sends it
            kinds.append("application/x-www-form-urlencoded")
        found["requestBody"] = {"content": {kind: {"schema": _BODIES[key]} for kind in kinds}}
    found["responses"] = _responses(key)
    return found


def _responses(key: tuple[str, str]) -> dict[str, Any]:
    path = key[1]
    right: dict[str, Any] = {"description": "the answer"}
    kind = OTHER.get(key, "application/json" if key in JSON else "text/plain")
    if kind:
        right["content"] = {kind: {"schema": JSON.get(key, TEXT)} if kind == "application/json" else {}}
    wrong = _error_of(path)
    codes = [] if path in _FOR_MONITORS else ["400"]
    if "{" in path or path.endswith(("/wait", "/sessions")) or "mailbox" in _QUERIES.get(key, ()):
        codes.append("404")
    if key in _BODIES:
        codes += ["408", "413"]
    codes += [] if path in ("/health", "/livez") else ["503"]
    return {"200": right} | {
        code: {"description": _TEXTS_OF_ERRORS[code], "content": wrong} for code in codes
    }


def _error_of(path: str) -> dict[str, Any]:
    """What `app` answers below a path when something is wrong."""
    if path in _FOR_MONITORS or (path.startswith(("/api/v1/", "/view/")) and path != "/api/v1/send"):
        return {"text/plain": {}}
    return {"application/json": {"schema": SEND_ERROR if path == "/api/v1/send" else ERROR}}


async def get_document(request: Request) -> Response:
    """Get this document."""
    Query(request)
    return JSONResponse(document(request.app.routes))


ROUTES = [Route(PATH, get_document)]
