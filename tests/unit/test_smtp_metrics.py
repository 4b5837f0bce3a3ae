"""What Prometheus is told: of deliveries, fsyncs and ambiguous renames, by all workers together."""

from __future__ import annotations

import os
import re
import threading
import urllib.request
from pathlib import Path

import pytest
from smtp_support import Serve, Wire, serving

from maildir_safe._smtp.faults.faults import Faults
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.counters import BOUNDS, Counters


def figures(address: str) -> dict[str, float]:
    """Each line of the page by its name and labels."""
    with urllib.request.urlopen(f"{address}metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def send(server: BackgroundServer, text: bytes = b"Subject: x\r\n") -> str:
    wire = Wire(server.service.smtp_addresses[0])
    wire.ready_for_data()
    reply = wire.ask(text + b".")
    wire.close()
    return reply[:3]


def seen(server: BackgroundServer) -> dict[str, float]:
    return figures(f"http://{server.service.web_address}/")


def test_what_became_of_each_message(tmp_path: Path) -> None:
    faults = Faults()
    with serving(tmp_path, faults, web="127.0.0.1:0", max_size=1000) as server:
        assert [send(server), send(server), send(server, b"x" * 2000 + b"\r\n")] == ["250", "250", "552"]
        faults.add(call="write", error="ENOSPC")
        assert send(server) == "452"
        now = seen(server)
    of = "maildir_safe_deliveries_total"
    assert [now[f'{of}{{result="{result}"}}'] for result in ("stored", "deferred", "refused")] == [2, 1, 1]
    assert now["maildir_safe_delivery_seconds_count"] == 4


def test_a_rename_whose_reply_is_lost_is_counted(tmp_path: Path) -> None:
    faults = Faults()
    with serving(tmp_path, faults, web="127.0.0.1:0") as server:
        assert send(server) == "250"
        assert seen(server)["maildir_safe_ambiguous_renames_total"] == 0
        faults.add(call="rename", error="EIO", executed=True, times=1)
        assert send(server) == "250"
        assert seen(server)["maildir_safe_ambiguous_renames_total"] == 1


def test_slow_fsyncs_are_in_the_histogram(tmp_path: Path) -> None:
    faults = Faults()
    faults.add(call="fsync", delay=0.4, times=1)
    with serving(tmp_path, faults, web="127.0.0.1:0") as server:
        assert send(server) == "250"
        now = seen(server)
    fsyncs = {name: now[f"maildir_safe_fsync_seconds{name}"] for name in ("_count", "_sum")}
    assert fsyncs["_count"] == 2  # the file and the directory
    assert fsyncs["_sum"] >= 0.4
    assert now['maildir_safe_fsync_seconds_bucket{le="0.3"}'] <= 1
    assert now['maildir_safe_delivery_seconds_bucket{le="0.3"}'] == 0
    assert now['maildir_safe_delivery_seconds_bucket{le="+Inf"}'] == 1


def test_workers_count_together(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--workers", "2")
    for _ in range(12):
        with serve.client() as client:
            client.sendmail("a@b", ["c@d"], b"Subject: x\r\n")
    now = figures(serve.told("Inbox"))
    assert serve.end()[0] == 0
    assert now["maildir_safe_delivery_seconds_count"] == 12
    assert now["maildir_safe_fsync_seconds_count"] == 24
    for histogram in ("delivery", "fsync"):
        counts = [n for name, n in now.items() if re.match(f"maildir_safe_{histogram}_seconds_bucket", name)]
        assert len(counts) == len(BOUNDS) + 1
        assert counts == sorted(counts)


def test_threads_lose_no_count() -> None:
    counters = Counters(2)
    counters.use_slot(1)
    many = [threading.Thread(target=lambda: [counters.fsync(0.001) for _ in range(5000)]) for _ in range(4)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    counts, seconds = counters.fsync_seconds
    assert counts == [0, 0, *[20_000] * (len(BOUNDS) - 1)]
    assert seconds == pytest.approx(20.0)


def test_a_process_counts_beside_another_and_after_one_that_died() -> None:
    counters = Counters(2)
    for worker, result in ((0, "stored"), (1, "refused"), (1, "stored")):
        if not (pid := os.fork()):
            counters.use_slot(worker)
            counters.message(result, 50)
            os._exit(0)
        os.waitpid(pid, 0)
    assert counters.messages == {"stored": 2, "deferred": 0, "refused": 1}
    assert counters.delivery_seconds == ([*[0] * len(BOUNDS), 3], 150.0)
