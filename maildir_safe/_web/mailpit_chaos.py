"""Mailpit's requests for chaos: GET PUT /api/v1/chaos. A server that is no test server has none."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maildir_safe._smtp.faults.chaos import STAGES, Chaos, Trigger, usual_code
from maildir_safe._web.mailpit_body import checked, read_fields
from maildir_safe._web.parameters import Query, bad


async def get_chaos(request: Request) -> Response:
    """Get the triggers of chaos: how often a sender, a recipient or a password is refused, and how."""
    Query(request)
    return _answer(_chaos(request))


async def put_chaos(request: Request) -> Response:
    """Replace the triggers of chaos. Those that are not named are off."""
    Query(request)
    chaos = _chaos(request)
    fields = await read_fields(request, **dict.fromkeys(STAGES, dict))
    chaos.set({name: _trigger(name, given) for name, given in fields.items()})
    return _answer(chaos)


def _chaos(request: Request) -> Chaos:
    found: Chaos | None = request.app.state.chaos
    if found is None:
        raise bad("Chaos is not enabled: it needs a test server (no --map) with one worker")
    return found


def _trigger(name: str, given: dict[str, Any]) -> Trigger:
    fields = checked(given, {"ErrorCode": int, "Probability": int}, f"{name}.")
    code = _whole(f"{name}.ErrorCode", fields.get("ErrorCode", usual_code(name)), 400, 599)
    return Trigger(code, _whole(f"{name}.Probability", fields.get("Probability", 0), 0, 100))


def _whole(name: str, value: int, least: int, most: int) -> int:
    if isinstance(value, bool) or not least <= value <= most:
        raise bad(f"{name}: must be a whole number from {least} to {most}")
    return value


def _answer(chaos: Chaos) -> Response:
    return JSONResponse(
        {
            name: {"ErrorCode": trigger.code, "Probability": trigger.percent}
            for name, trigger in chaos.triggers.items()
        }
    )


ROUTES = [
    Route("/api/v1/chaos", get_chaos),
    Route("/api/v1/chaos", put_chaos, methods=["PUT"]),
]
