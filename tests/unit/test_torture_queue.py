"""Torture of a queue: a short real run, and putters and workers that are wrong, which it must notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torture_support import until_shown

from maildir_safe import Maildir, Queue
from maildir_safe._check import torture_folder, torture_queue
from maildir_safe._check.torture_ledger import Ledger, message
from maildir_safe._check.torture_process import life
from maildir_safe._check.torture_queue import QueueReport, _compare
from maildir_safe._check.torture_worker import MAILDIR, RECIPIENT, SENDER, SPOOL
from maildir_safe._cli import main
from maildir_safe._cli.torture import in_words
from maildir_safe.errors import TemporaryError


@pytest.fixture(scope="module")
def seconds() -> float:
    """How long five processes need to start and to do something: on a busy machine longer."""
    return max(3.0, life("maildir_safe._check.torture_worker", 5) / 2)


def tortured(directory: Path, seconds: float) -> QueueReport:
    return torture_queue.torture_queue(str(directory), seconds, 2, seed=1, progress=lambda share, words: None)  # noqa: ARG005


def test_a_queue_whose_processes_are_killed_and_stopped_loses_and_doubles_nothing(
    tmp_path: Path, seconds: float
) -> None:
    report = until_shown(
        lambda time: tortured(tmp_path, time),
        2 * seconds,
        lambda run: run.wrong or (run.acknowledged and run.kills > 3 and run.stopped),
    )
    assert report.passed, report.as_dict()
    assert report.kills > 3
    assert report.stopped > 0
    assert [error for error in report.errors if "by itself" in error] == []
    assert report.shared
    assert list(tmp_path.iterdir()) == []  # it cleans up after itself


@pytest.mark.parametrize(
    ("broken", "what"),
    [("repeated put", "doubled"), ("ack without delivery", "lost"), ("unfenced delivery", "doubled")],
)
def test_it_notices_putters_and_workers_that_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, broken: str, what: str
) -> None:
    monkeypatch.setattr(torture_queue, "_WORKER", "broken_crew")
    monkeypatch.setattr(torture_queue, "LEASE", 1)
    monkeypatch.setattr(torture_queue, "DRAIN", 0.0)
    monkeypatch.setenv("BROKEN", broken)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    report = until_shown(
        lambda time: tortured(tmp_path, time), 1.5 * seconds, lambda run: run.as_dict()[what]
    )
    assert report.acknowledged > 0
    assert report.as_dict()[what], report.as_dict()
    assert not report.passed


def test_it_notices_what_is_lost_doubled_partial_strange_or_left(tmp_path: Path) -> None:
    queue, maildir = Queue(tmp_path / SPOOL), Maildir(tmp_path / MAILDIR)

    def put(content: bytes, sender: str = SENDER) -> None:
        queue.put(content, sender, [RECIPIENT])

    for content in (message("good"), message("twice"), message("torn")[:-5], b"Subject: stranger\n\n"):
        put(content)
    put(message("forged"), "somebody@else")
    for claim in queue.claim(5):
        claim.ack_into(maildir)
    put(message("twice"))
    put(message("left"))
    report = QueueReport()
    report.acknowledged = 5
    _compare(str(tmp_path), Ledger(keys := ["good", "twice", "torn", "left", "gone"], keys), report)
    assert report.lost == ["gone", "torn"]
    assert report.doubled == ["twice"]
    assert report.partial == ["torn"]
    assert len(report.unknown) == 2
    assert len(report.left) == 2
    assert not report.passed


@pytest.mark.parametrize("where", ["the item", "the spool"])
def test_what_cannot_be_read_is_not_called_lost(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is that of a temporary failure, and the words say where the messages are."""

    def fail(*_: object) -> None:
        raise TemporaryError("read: Input/output error [EIO]")

    monkeypatch.setattr(torture_folder, "_PAUSES", ())
    Maildir(tmp_path / MAILDIR)
    Queue(tmp_path / SPOOL).put(message("left"), SENDER, [RECIPIENT])
    monkeypatch.setattr(Queue, "contents" if where == "the item" else "items", fail)
    report = QueueReport()
    report.acknowledged = 1
    _compare(str(tmp_path), Ledger(["left"], ["left"]), report)
    assert (report.lost, report.left) == ([], [])
    assert ["Input/output error" in case for case in report.unreadable] == [True]
    assert not report.passed
    report.kept = "/mnt/kept"
    monkeypatch.setattr("maildir_safe._cli.torture.torture_queue", lambda *_: report)
    assert main(["torture", "--queue", str(tmp_path)]) == 75
    assert "are not lost: repair the mount, then look in /mnt/kept" in capsys.readouterr().out


def test_a_queue_that_did_not_drain_has_not_passed(tmp_path: Path) -> None:
    Maildir(tmp_path / MAILDIR)
    Queue(tmp_path / SPOOL).put(message("left"), SENDER, [RECIPIENT])
    report = QueueReport()
    report.acknowledged = 1
    _compare(str(tmp_path), Ledger(["left"], ["left"]), report)
    assert not report.lost
    assert not report.passed


def test_the_command_prints_json_and_fails_on_a_bad_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    monkeypatch.setattr("maildir_safe._queue.store.mount_rules.MountRules.shareable", False)  # as on s3fs
    command = ["torture", "--queue", "--json", "--writers", "1"]

    def run(time: float) -> tuple[int, dict[str, Any]]:
        status = main([*command, "--minutes", str(time / 60), str(tmp_path)])
        return status, json.loads(capsys.readouterr().out)

    status, report = until_shown(run, seconds, lambda told: told[1]["acknowledged"])
    assert status == 0
    assert report["lost"] == report["left"] == []
    assert not report["shared"]
    assert report["upper_bound_95"] < 1
    assert main([*command, str(tmp_path / "absent")]) == 75
    assert "absent" in capsys.readouterr().err


def test_the_result_in_words() -> None:
    report = QueueReport()
    report.acknowledged, report.kills, report.workers_killed, report.shared = 9, 5, 2, False
    words = in_words(report, 1)
    assert "3 putters and 2 workers killed" in words
    assert "one host only" in words
    assert "fewer than 1 in 3 messages" in words
    report.left = ["pending/now.a.0/x"]
    assert "did not drain" in in_words(report, 1)
    assert "left in the queue 1" in in_words(report, 1)
    report.lost = ["p1-1"]
    assert "does not keep" in in_words(report, 1)
