"""From a client through `serve --queue`, a spool and `work` to another server, which first says 450."""

from __future__ import annotations

import json
import re
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from maildir_safe.smtp.run import Service
from maildir_safe.smtp.settings import Settings

COMMAND = [str(Path(sys.executable).with_name("maildir-safe"))]


class Sink:
    """Refuses the first message for now, and takes the next."""

    def __init__(self) -> None:
        self.tries = 0
        self.taken: list[tuple[str, list[str], bytes]] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: ARG002
        self.tries += 1
        if self.tries == 1:
            return "450 4.7.1 come back later"
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))  # type: ignore[attr-defined]
        return "250 2.0.0 taken"


@pytest.fixture
def sink() -> Iterator[tuple[Sink, int]]:
    taken = Sink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(taken, hostname="127.0.0.1", port=port)
    controller.start()
    yield taken, port
    controller.stop()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[int]:
    words = ["serve", "--queue", str(tmp_path / "spool"), "--smtp", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    first = process.stdout.readline()
    yield int(re.findall(r":(\d+)", first)[0])
    process.terminate()
    process.wait()


def run(*words: object) -> str:
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_refusal_for_now_is_tried_again_and_delivered_once(
    sink: tuple[Sink, int], serving: int, tmp_path: Path
) -> None:
    (server, port), spool = sink, tmp_path / "spool"
    mail = EmailMessage()
    mail["Subject"] = "relay me"
    mail.set_content("a line\n.a dot\n")
    with smtplib.SMTP("127.0.0.1", serving) as client:
        client.sendmail(
            "s@example.org", ["a@example.net", "b@example.net", "c@example.com"], mail.as_bytes(policy=SMTP)
        )
    listed = [json.loads(line) for line in run("queue", "ls", "--json", spool).splitlines()]
    assert sorted(len(one["recipients"]) for one in listed) == [1, 2]
    work = ["work", spool, "--to", f"smtp://127.0.0.1:{port}", "--once", "--concurrency", 1]
    run(*work)
    [waiting] = [json.loads(line) for line in run("queue", "ls", "--json", spool).splitlines()]
    assert "450 4.7.1 come back later" in run("queue", "why", spool, waiting["queue_id"])
    run("queue", "retry", spool, waiting["queue_id"])
    run(*work)
    assert json.loads(run("queue", "stats", "--json", spool)) == dict.fromkeys(
        ("pending", "claimed", "hold", "failed", "corrupt", "oldest_age"), 0
    )
    assert sorted(recipient for _, recipients, _ in server.taken for recipient in recipients) == [
        "a@example.net", "b@example.net", "c@example.com",
    ]  # fmt: skip
    assert server.tries == 3
    assert all(sender == "s@example.org" and b"\r\n.a dot\r\n" in data for sender, _, data in server.taken)


def test_a_queue_that_would_relay_for_anybody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="anything to anyone"):
        Service(Settings(queue=str(tmp_path / "spool"), smtp=["0.0.0.0:0"]))
