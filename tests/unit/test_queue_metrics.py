"""The numbers of a worker, as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from maildir_safe import Queue
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.metrics import Metrics
from maildir_safe._queue.worker import Worker

CODES = {"a@x.org": 250, "b@x.org": 451, "c@x.org": 550}


def statuses(request: DeliveryRequest) -> dict[str, RecipientStatus]:
    return {who: RecipientStatus(CODES.get(who, 250), "2.0.0 as scripted") for who in request.recipients}


def test_what_is_counted(tmp_path: Path) -> None:
    with Queue(tmp_path / "spool") as queue:
        metrics = Metrics(queue)
        for recipient in CODES:
            queue.put(b"x\n", "", [recipient])
        Worker(queue, statuses, metrics=metrics).run_once()
        lines = metrics.text().decode().splitlines()
    for line in (
        'maildir_safe_queue_messages{state="pending"} 1.0',
        'maildir_safe_queue_messages{state="failed"} 1.0',
        'maildir_safe_queue_messages{state="claimed"} 0.0',
        "maildir_safe_queue_claims_total 4.0",  # the one that failed is claimed again, to tell its sender
        "maildir_safe_queue_leases_lost_total 0.0",
        'maildir_safe_deliveries_total{courier="statuses",result="delivered"} 1.0',
        'maildir_safe_deliveries_total{courier="statuses",result="deferred"} 1.0',
        'maildir_safe_deliveries_total{courier="statuses",result="failed"} 1.0',
    ):
        assert line in lines, line
    assert any(line.startswith("maildir_safe_queue_oldest_age_seconds ") for line in lines)
