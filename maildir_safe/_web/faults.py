"""Faults while the server runs: a page to see, add and remove them, and the same for programs.

GET POST DELETE /api/faults         DELETE /api/faults/NUMBER
"""

from __future__ import annotations

import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from maildir_safe._smtp.faults.chaos import Chaos
from maildir_safe._smtp.faults.faults import STAGES, Fault, Faults
from maildir_safe._web.mailpit_body import checked, read_form, read_json
from maildir_safe._web.pages import link, page_of
from maildir_safe._web.parameters import Query, bad

FIELDS: dict[str, type] = {
    "stage": str, "match": str, "reply": str, "delay": float, "drop": bool, "nth": int, "times": int,
    "chance": float, "greylist": float, "rate": str,
}  # fmt: skip
"""The fields of a fault that can be added, and their types."""
_SHOWN = (*FIELDS, "call", "error", "executed")
_USUAL = Fault(stage="mail")
_CODE = re.compile(r"[245][0-9]{2}")


async def list_faults(request: Request) -> Response:
    """List the faults that were added, and those of the script."""
    Query(request)
    chaos = _chaos(request)
    added = [{"number": number, **_fields(fault)} for number, fault in chaos.added.items()]
    return JSONResponse({"faults": added, "script": [_fields(fault) for fault in _script(request)]})


async def add_fault(request: Request) -> Response:
    """Add a fault, with the fields of the script; it happens from now on."""
    Query(request)
    chaos = _chaos(request)
    fields = checked(await read_json(request), FIELDS)
    return JSONResponse({"number": _add(chaos, fields)})


async def remove_faults(request: Request) -> Response:
    """Remove all faults that were added; those of the script stay."""
    Query(request)
    _chaos(request).remove_all()
    return JSONResponse({})


async def remove_fault(request: Request) -> Response:
    """Remove one fault that was added."""
    Query(request)
    _remove(request)
    return JSONResponse({})


async def show_faults(request: Request) -> Response:
    """Show the faults, and a form that adds one."""
    Query(request)
    chaos = _chaos(request)
    shown = [(number, fault, _conditions(fault)) for number, fault in chaos.added.items()]
    script = [(fault, _conditions(fault)) for fault in _script(request)]
    random = [(name, one) for name, one in chaos.triggers.items() if one.percent]
    context = {"faults": shown, "script": script, "random": random, "stages": STAGES}
    return page_of(request, "faults.html", context)


async def add_by_form(request: Request) -> Response:
    """Add the fault of the page's form."""
    Query(request)
    chaos = _chaos(request)
    given: dict[str, Any] = {name: value for name, value in await read_form(request, 20) if value}
    for name, kind in FIELDS.items():
        if name in given and kind in (int, float):
            try:
                given[name] = kind(given[name])
            except ValueError:
                raise bad(f"{name}: {given[name][:100]!r} is not a number") from None
    given["drop"] = given.get("drop") == "on"
    _add(chaos, checked(_completed(given), FIELDS))
    return RedirectResponse(link(request, "/faults"), 303)


async def remove_by_form(request: Request) -> Response:
    """Remove the fault of a button."""
    Query(request)
    _remove(request)
    return RedirectResponse(link(request, "/faults"), 303)


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """What a person has left out: of an address the domain, of a reply the text."""
    match, reply = given.get("match", ""), given.get("reply", "")
    if match and given.get("stage") != "auth" and not set(match) & set("@*?["):
        given["match"] = f"{match}@*"
    if _CODE.fullmatch(reply):
        given["reply"] = f"{reply} {reply[0]}.0.0 Scripted fault"
    return given


def _chaos(request: Request) -> Chaos:
    found: Chaos | None = request.app.state.chaos
    if found is None:
        raise bad("Faults can be added to a test server (no --map) with one worker only.")
    return found


def _script(request: Request) -> list[Fault]:
    found: Faults | None = request.app.state.script()
    return found.listed if found else []


def _add(chaos: Chaos, fields: dict[str, Any]) -> int:
    try:
        return chaos.add(fields)
    except ValueError as error:
        raise bad(str(error)) from None


def _remove(request: Request) -> None:
    number = request.path_params["number"]
    if not (number.isdecimal() and len(number) < 10 and _chaos(request).remove(int(number))):
        raise HTTPException(404, "There is no such fault; it may have been removed.")


def _fields(fault: Fault) -> dict[str, Any]:
    """The fields that were given."""
    given = {name: getattr(fault, name) for name in _SHOWN}
    return {name: value for name, value in given.items() if value != getattr(_USUAL, name) or name == "stage"}


def _conditions(fault: Fault) -> str:
    """When a fault happens, for people."""
    parts = [
        f"at {fault.stage}" if fault.stage else f"at the file call {fault.call}",
        f"for {fault.match}" if fault.match != "*" else "",
        f"time {fault.nth} in a connection" if fault.nth else "",
        _left(fault.times),
        f"in {fault.chance:.0%} of cases" if fault.chance < 1 else "",
        f"greylisting for {fault.greylist:g} s" if fault.greylist is not None else "",
        f"beyond {fault.rate}" if fault.rate else "",
    ]
    return ", ".join(filter(None, parts))


def _left(times: int | None) -> str:
    """How often a fault still happens."""
    if times is None:
        return ""
    return {0: "used up", 1: "once more"}.get(times, f"{times} more times")


ROUTES = [
    Route("/faults", show_faults),
    Route("/faults", add_by_form, methods=["POST"]),
    Route("/faults/{number}/remove", remove_by_form, methods=["POST"]),
    Route("/api/faults", list_faults),
    Route("/api/faults", add_fault, methods=["POST"]),
    Route("/api/faults", remove_faults, methods=["DELETE"]),
    Route("/api/faults/{number}", remove_fault, methods=["DELETE"]),
]
