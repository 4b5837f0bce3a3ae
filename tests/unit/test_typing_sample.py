"""What a user writes type-checks: an ordinary function is a courier, in mypy --strict and pyright."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
from maildir_safe import (
    Claim, Courier, DeliveryRequest, MaildirCourier, Queue, QueueEntry, RecipientStatus, Schedule,
    SmtpCourier, Worker,
)


def courier(request: DeliveryRequest) -> dict[str, RecipientStatus]:
    with request.open() as file:
        file.read()
    request.confirm()
    return {recipient: RecipientStatus(250, "2.0.0 taken") for recipient in request.recipients}


def takes_all(request: DeliveryRequest) -> None:
    print(request.sender)


class Relay:
    def __call__(self, message: DeliveryRequest) -> dict[str, RecipientStatus] | None:
        return None


def work(queue: Queue) -> None:
    into = MaildirCourier(lambda address: [f"/mail/{address}"])
    couriers: list[Courier] = [courier, takes_all, Relay(), SmtpCourier("smtp://mx"), into]
    for one in couriers:
        Worker(queue, one, schedule=Schedule(first=5.0)).run_once()
    claims: list[Claim] = queue.claim()
    entries: list[QueueEntry] = list(queue.items("pending"))
    print(claims, entries)
"""


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE)
    return path


def test_an_ordinary_function_is_a_courier_for_mypy(sample: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental", str(sample)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("pyright") is None, reason="pyright is not installed")
def test_an_ordinary_function_is_a_courier_for_pyright(sample: Path) -> None:
    command = ["pyright", "--pythonpath", sys.executable, str(sample)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout
