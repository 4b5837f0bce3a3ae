"""Counters and gauges of a worker, for Prometheus (the extra `server` has prometheus-client)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maildir_safe._queue.queue import Queue


class Metrics:
    """Counters of a worker's events, and gauges of a queue's items, which each scrape looks up.

    Args:
        queue: the queue whose items are counted. Each scrape lists all of it.
        registry: keeps the numbers; by default a new one.
    """

    def __init__(self, queue: Queue, registry: CollectorRegistry | None = None) -> None:
        self._queue = queue
        self.registry = registry or CollectorRegistry()
        self._claims = Counter("maildir_safe_queue_claims", "Items claimed", registry=self.registry)
        self._leases_lost = Counter(
            "maildir_safe_queue_leases_lost", "Claims of a worker that was fenced", registry=self.registry
        )
        self._deliveries = Counter(
            "maildir_safe_deliveries", "Recipients handed over", ["courier", "result"], registry=self.registry
        )
        self.registry.register(self)

    def claims(self, count: int) -> None:
        """Count claimed items."""
        self._claims.inc(count)

    def leases_lost(self) -> None:
        """Count a claim that was lost."""
        self._leases_lost.inc()

    def deliveries(self, courier: object, status: RecipientStatus) -> None:
        """Count a courier's status for a recipient."""
        result = "delivered" if status.done else "failed" if status.permanent else "deferred"
        name = getattr(courier, "__name__", type(courier).__name__)
        self._deliveries.labels(name, result).inc()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The queue's gauges, for the registry; none while the storage does not answer."""
        try:
            stats = self._queue.stats()
        except TemporaryError:
            return
        age = stats.pop("oldest_age")
        messages = GaugeMetricFamily("maildir_safe_queue_messages", "Items by state", labels=["state"])
        for state, count in stats.items():
            messages.add_metric([state], count)
        yield messages
        yield GaugeMetricFamily("maildir_safe_queue_oldest_age_seconds", "Age of the oldest item", age)

    def text(self) -> bytes:
        """The metrics now, in the text format of Prometheus. Blocks while the storage hangs."""
        return generate_latest(self.registry)
