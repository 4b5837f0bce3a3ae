"""From a client or a Postfix through `serve --queue`, a spool and `work` to a server that first says 450."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from mta import Postfix, scratch, wait_for
from smtp_support import Serve, free_port

COMMAND = [sys.executable, "-m", "maildir_safe"]
MESSAGE = b"From: ann@example.com\r\nSubject: relay me\r\n\r\na line\r\n.a dot\r\n"


class Sink:
    """Gives these answers to the first messages, and takes what comes after."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.tries = 0
        self.taken: list[tuple[str, list[str], bytes]] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: ARG002
        self.tries += 1
        if self.statuses:
            return self.statuses.pop(0)
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 taken"


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink("450 4.7.1 come back later")
    controller = Controller(sink, hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    controller.start()
    sink.address = f"smtp://127.0.0.1:{controller.port}"  # type: ignore[attr-defined]
    yield sink
    controller.stop()


def run(*words: object) -> str:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def listed(spool: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("queue", "ls", "--json", spool).splitlines()]


def is_empty(spool: Path) -> bool:
    stats: dict[str, int] = json.loads(run("queue", "stats", "--json", spool))
    return not any(stats.values())


@contextlib.contextmanager
def working(spool: Path, courier: str) -> Iterator[None]:
    """A worker runs, and ends as it should."""
    worker = subprocess.Popen([*COMMAND, "work", str(spool), "--to", courier])
    try:
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        status = worker.wait(60)
    assert status == 0


def test_a_refusal_for_now_is_tried_again_and_delivered_once(sink: Any, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    serve = Serve(tmp_path, "--queue", str(spool))
    with serve.client() as client:
        client.sendmail("s@example.org", ["a@example.net", "b@example.net", "c@example.com"], MESSAGE)
    assert serve.end()[0] == 0
    assert sorted(len(one["recipients"]) for one in listed(spool)) == [1, 2]
    work = ["work", spool, "--to", sink.address, "--once", "--concurrency", 1]
    run(*work)
    (waiting,) = listed(spool)
    assert "450 4.7.1 come back later" in run("queue", "why", spool, waiting["queue_id"])
    run("queue", "retry", spool, waiting["queue_id"])
    run(*work)
    assert is_empty(spool)
    assert sorted(recipient for _, recipients, _ in sink.taken for recipient in recipients) == [
        "a@example.net", "b@example.net", "c@example.com",
    ]  # fmt: skip
    assert sink.tries == 3
    assert all(sender == "s@example.org" and b"\r\n.a dot\r\n" in data for sender, _, data in sink.taken)


@pytest.mark.mounts
def test_postfix_by_lmtp_a_running_worker_and_a_server_that_defers(sink: Any, base: Path) -> None:
    spool, socket = base / "spool", base / "lmtp.sock"
    serve = Serve(base, "--queue", str(spool), "--lmtp", str(socket))
    socket.chmod(0o777)  # Postfix connects as its own user
    main = f"relay_domains = example.net\nrelay_transport = lmtp:unix:{socket}\n"
    with Postfix(base, main, "lmtp unix - - n - - lmtp\n") as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
            client.sendmail("ann@example.com", ["bob@example.net", "cy@example.net"], MESSAGE)
        told = postfix.outcome("sent", 2)
        postfix.emptied()
    (item,) = listed(spool)
    assert f"250 2.0.0 Queued as {item['queue_id']}" in told
    assert [one["address"] for one in item["recipients"]] == ["bob@example.net", "cy@example.net"]
    with working(spool, sink.address):
        waiting = wait_for("the first try", lambda: [one for one in listed(spool) if one["tries"] == 1])
        assert waiting[0]["queue_name"] == "pending"
        assert waiting[0]["not_before"] >= waiting[0]["arrival_time"] + 54  # a minute, a tenth more or less
        why = run("queue", "why", spool, item["queue_id"])
        assert re.findall(r"(\S+): 450 4.7.1 come back later", why) == ["bob@example.net", "cy@example.net"]
        assert sink.taken == []
        run("queue", "retry", spool, item["queue_id"])
        wait_for("the second try", lambda: sink.taken)
        wait_for("an empty spool", lambda: is_empty(spool))
    assert serve.end()[0] == 0
    assert sink.tries == 2
    ((sender, recipients, data),) = sink.taken
    assert (sender, recipients) == ("ann@example.com", ["bob@example.net", "cy@example.net"])
    assert b"\r\nSubject: relay me\r\n" in data
    assert data.endswith(b"\r\n\r\na line\r\n.a dot\r\n")
    assert data.startswith(b"Received: from mx.example.net (local)\r\n\tby ")
