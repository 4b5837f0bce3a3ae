"""The bodies of requests to Mailpit's API, checked: an unknown or malformed field is answered with 400."""

from __future__ import annotations

import asyncio
import io
import json
from typing import IO, Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from maildir_safe._web.parameters import bad

_SMALL = 4 << 20
_SECONDS = 60.0
_MOST_FIELDS = 200_000
_KINDS: dict[type, str] = {
    bool: "true or false",
    str: "a text",
    list: "a list of texts",
    dict: "an object",
    int: "a whole number",
    float: "a number",
}


async def copy_body(request: Request, file: IO[bytes], most: int = _SMALL) -> None:
    """Write the body of a request into a file.

    Args:
        request: the request.
        file: where to write it.
        most: most bytes.

    Raises:
        HTTPException: 413, it is longer; 408, it did not arrive within a minute.
    """
    length = 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for piece in request.stream():
                length += len(piece)
                if length > most:
                    raise HTTPException(413, f"the request is longer than {most} bytes")
                file.write(piece)
    except TimeoutError:
        raise HTTPException(408, "the request did not arrive in time") from None


async def read_fields(request: Request, **kinds: type) -> dict[str, Any]:
    """The fields of a request: a JSON object, or a form as some clients send it. An empty body has none.

    Field names are compared without regard to case, as Mailpit does.

    Args:
        request: the request.
        kinds: the type of each allowed field, by its name.

    Raises:
        HTTPException: 400, it is malformed; 413, 408 as `copy_body`.
    """
    body = io.BytesIO()
    await copy_body(request, body)
    raw = body.getvalue()
    if not raw.strip():
        return {}
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return _form(raw, kinds)
    return checked(json_object(raw), kinds)


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that a request holds; an empty body is an empty one. Raises HTTPException."""
    body = io.BytesIO()
    await copy_body(request, body)
    return json_object(body.getvalue()) if body.getvalue().strip() else {}


async def read_form(request: Request, most: int) -> list[tuple[str, str]]:
    """The fields of a page's form, in order. Raises HTTPException: 400, more than `most`; 413."""
    body = io.BytesIO()
    await copy_body(request, body)
    try:
        return parse_qsl(body.getvalue().decode("ascii"), max_num_fields=most)
    except ValueError:
        raise bad(f"the form is malformed, or has more than {most} fields") from None


def json_object(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises HTTPException: 400."""
    try:
        found = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise bad(f"the request is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise bad("the request is not a JSON object")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def checked(found: dict[str, Any], kinds: dict[str, type], where: str = "") -> dict[str, Any]:
    """The fields of an object, under their proper names and each of its type; null means absent.

    Args:
        found: the object.
        kinds: the type of each allowed field. A list is a list of texts.
        where: name of the object, for the error.

    Raises:
        HTTPException: 400, a field is unknown, is given twice or has another type.
    """
    proper = {name.lower(): name for name in kinds}
    out: dict[str, Any] = {}
    for given, value in found.items():
        name = proper.get(given.lower())
        if name is None:
            raise bad(f"{where}{given[:100]}: no such field; the fields are: {', '.join(kinds)}")
        if name in out:
            raise bad(f"{where}{name}: given twice")
        if value is None:
            continue
        if not _is(value, kinds[name]):
            raise bad(f"{where}{name}: must be {_KINDS[kinds[name]]}")
        out[name] = value
    return out


def _is(value: object, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind)


def _form(raw: bytes, kinds: dict[str, type]) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise bad(f"the request is not a form: {str(error)[:200]}") from None
    proper = {name.lower(): name for name in kinds}
    found: dict[str, Any] = {}
    for given, value in pairs:
        kind = kinds.get(proper.get(given.lower(), ""))
        if kind is list:
            found.setdefault(given, []).append(value)
        elif given in found:
            raise bad(f"{given[:100]}: given twice")
        else:
            found[given] = {"true": True, "false": False}.get(value.lower(), value) if kind is bool else value
    return checked(found, kinds)
