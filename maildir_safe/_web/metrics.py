"""Health, readiness, and the metrics for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from maildir_safe._web.ordering import printable
from maildir_safe.errors import MaildirSafeError


async def health(request: Request) -> Response:  # noqa: ARG001
    """Answer 200: this process is alive."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """Answer 200 if a file can be stored and the Maildir can be listed; 503 with the reason if not."""
    trouble = await request.app.state.check.fresh_trouble()
    if trouble:
        return PlainTextResponse(f"{printable(trouble)}\n", 503)
    try:
        await request.app.state.inbox.messages()
    except MaildirSafeError as error:
        return PlainTextResponse(f"{printable(str(error))}\n", 503)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Answer with the metrics, in the text format of Prometheus."""
    from prometheus_client import CONTENT_TYPE_LATEST

    from maildir_safe._smtp.server.metrics import metrics_text

    messages = len(await request.app.state.inbox.messages())
    return Response(metrics_text(request.app.state.counters, messages), media_type=CONTENT_TYPE_LATEST)


ROUTES = [
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", metrics),
]
