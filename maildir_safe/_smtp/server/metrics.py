"""The metrics of `maildir-safe serve`, in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from maildir_safe._smtp.server.counters import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from maildir_safe._smtp.server.counters import Counters


def metrics_text(counters: Counters, messages: int | None = None) -> bytes:
    """The current metrics.

    Args:
        counters: the counts of all worker processes.
        messages: number of messages in the one Maildir that takes all mail; None if it is not known.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Now(counters, messages))
    return generate_latest(registry)


class _Now:
    """The current metrics, as a collector for prometheus_client."""

    def __init__(self, counters: Counters, messages: int | None) -> None:
        self._counters = counters
        self._messages = messages

    def collect(self) -> Iterator[Metric]:
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
        if self._messages is not None:
            yield GaugeMetricFamily("maildir_safe_messages", "Messages in the Maildir", self._messages)
