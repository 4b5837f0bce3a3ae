"""Health, readiness, and the metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from maildir_safe._smtp.server.counters import BOUNDS
from maildir_safe._web.inbox import printable
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from prometheus_client import Metric

    from maildir_safe._smtp.server.counters import Counters


async def health(request: Request) -> Response:  # noqa: ARG001
    """Answer 200: this process is alive."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """Answer 200 if the Maildir can be listed; 503 with the reason if not."""
    try:
        await request.app.state.inbox.messages()
    except MaildirSafeError as error:
        return PlainTextResponse(f"{printable(str(error))}\n", 503)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Answer with the metrics, in the text format of Prometheus."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Now(request.app.state.counters, len(await request.app.state.inbox.messages())))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Now:
    """The current metrics, as a collector for prometheus_client."""

    def __init__(self, counters: Counters, messages: int) -> None:
        self._counters = counters
        self._messages = messages

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        def histogram(name: str, about: str, counts: list[int], seconds: float) -> Metric:
            buckets = list(zip([*map(str, BOUNDS), "+Inf"], counts, strict=True))
            return HistogramMetricFamily(name, about, buckets, seconds)

        counters = self._counters
        deliveries = CounterMetricFamily("maildir_safe_deliveries", "Messages received", labels=["result"])
        for result, count in counters.messages.items():
            deliveries.add_metric([result], count)
        yield deliveries
        yield histogram(
            "maildir_safe_delivery_seconds", "From DATA to the answer", *counters.delivery_seconds
        )
        yield histogram(
            "maildir_safe_fsync_seconds", "Of a file, a directory or all", *counters.fsync_seconds
        )
        yield CounterMetricFamily(
            "maildir_safe_ambiguous_renames", "Renames answered with an error", counters.ambiguous_renames
        )
        yield GaugeMetricFamily("maildir_safe_messages", "Messages in the Maildir", self._messages)


ROUTES = [
    Route("/health", health),
    Route("/ready", ready),
    Route("/metrics", metrics),
]
