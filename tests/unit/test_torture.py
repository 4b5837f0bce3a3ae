"""Torture: a short real run, and proof that it would notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from torture_support import until_shown

from maildir_safe import Maildir
from maildir_safe._check import torture_folder
from maildir_safe._check.torture import MaildirReport, _compare, torture
from maildir_safe._check.torture_ledger import Ledger, TortureReport, message, upper_bound
from maildir_safe._check.torture_queue import QueueReport, torture_queue
from maildir_safe._cli.torture import in_words
from maildir_safe._probe import space as probed
from maildir_safe.errors import TemporaryError


def test_writers_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    report = until_shown(
        lambda time: torture(str(tmp_path), time, 3, seed=1, progress=lambda share, words: None),  # noqa: ARG005
        4.0,
        lambda run: run.wrong or (run.acknowledged > 50 and run.kills > 3),
    )
    assert report.passed, report.as_dict()
    assert report.acknowledged > 50
    assert report.kills > 3
    assert list(tmp_path.iterdir()) == []  # it cleans up after itself


@pytest.mark.parametrize("kind", [torture, torture_queue])
def test_a_mount_is_not_filled_up(
    kind: Callable[..., MaildirReport | QueueReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def room_left(_: str) -> list[float]:
        files = sum(len(list(new.iterdir())) for new in tmp_path.glob("*/*/new"))
        return [0.5, 0.04 if files > 30 else 1.0]

    monkeypatch.setattr(torture_folder, "room_left", room_left)
    report = kind(str(tmp_path), 3600, 2, seed=1, progress=lambda share, words: None)  # noqa: ARG005
    assert report.passed, report.as_dict()
    assert report.filled
    assert "Ended early" in in_words(report, 1)


def test_room_is_counted_in_bytes_and_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    Space = namedtuple("Space", "f_bavail f_blocks f_favail f_files")
    for space, left in ((Space(5, 10, 9, 10), [0.5, 0.9]), (Space(5, 10, 0, 0), [0.5, 1.0])):
        monkeypatch.setattr("os.statvfs", lambda _, space=space: space)
        assert probed.room_left("/") == left


def compared(box: Path, begun: set[str], acknowledged: set[str]) -> TortureReport:
    report = TortureReport()
    report.acknowledged = len(acknowledged)
    _compare(str(box), Ledger(begun, acknowledged), report)
    return report


def test_it_notices_what_is_lost_doubled_partial_or_strange(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    for key in ("good", "twice", "twice"):
        maildir.deliver(message(key))
    maildir.deliver(message("torn")[:-5])
    maildir.deliver(b"Subject: stranger\n\n")
    report = compared(tmp_path / "m", {"good", "twice", "torn", "gone"}, {"good", "twice", "torn", "gone"})
    assert report.lost == ["gone", "torn"]
    assert report.doubled == ["twice"]
    assert report.partial == ["torn"]
    assert len(report.unknown) == 1
    assert not report.passed


def test_a_message_cut_short_on_disk_is_partial(tmp_path: Path) -> None:
    """Its name says how long it was, so that opening it is an error."""
    maildir = Maildir(tmp_path / "m")
    maildir.deliver(message("torn"))
    (file,) = (tmp_path / "m" / "new").iterdir()
    file.write_bytes(message("torn")[:20])
    report = compared(tmp_path / "m", {"torn"}, {"torn"})
    assert (report.lost, len(report.partial), report.unreadable) == (["torn"], 1, [])


def test_what_cannot_be_read_is_not_called_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Coda mount in conflict 142 of 142 messages were called lost, and were there."""
    monkeypatch.setattr(torture_folder, "_PAUSES", ())
    maildir = Maildir(tmp_path / "m")
    for key in ("good", "sick"):
        maildir.deliver(message(key))
    (sick,) = [entry.key for entry in maildir.messages() if b"sick" in maildir.open(entry.key).read()]
    really = Maildir.open

    def failing(self: Maildir, key: str) -> BinaryIO:
        if key == sick:
            raise TemporaryError("read: Input/output error [EIO]")
        return really(self, key)

    monkeypatch.setattr(Maildir, "open", failing)
    report = compared(tmp_path / "m", {"good", "sick"}, {"good", "sick"})
    assert report.lost == []
    assert ["Input/output error" in case for case in report.unreadable] == [True]
    assert not report.passed
    report = compared(tmp_path / "m", {"good", "sick", "gone"}, {"good", "sick", "gone"})
    assert len(report.lost) == 1  # two are missing, and one file cannot be read


def test_a_directory_that_looks_like_a_message_is_none(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    maildir.deliver(b"Subject: x\n\n")
    (tmp_path / "m/cur/10.M1P1.h:2,S").mkdir()
    (tmp_path / "m/tmp/20.M1P1.h").mkdir()
    there = len(os.listdir("/proc/self/fd"))
    found = torture_folder.read_all(maildir.path)
    assert (len(found.messages), found.unreadable) == (1, [])
    assert len(os.listdir("/proc/self/fd")) == there


def test_a_maildir_that_cannot_be_listed_has_lost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torture_folder, "_PAUSES", ())
    Maildir(tmp_path / "m").deliver(message("good"))
    (tmp_path / "m" / "new").rename(tmp_path / "m" / "away")
    (tmp_path / "m" / "new").symlink_to("@7f000001.1.1@realm.")  # a conflict, as Coda shows it
    report = compared(tmp_path / "m", {"good"}, {"good"})
    assert (report.lost, len(report.unreadable)) == ([], 1)
    report = compared(tmp_path / "gone", {"good"}, {"good"})
    assert (report.lost, report.unreadable) == (["good"], [])


def test_a_run_that_delivered_nothing_has_not_passed() -> None:
    assert not TortureReport().passed


@pytest.mark.parametrize(
    ("bad", "count", "bound"), [(0, 1000, 0.003), (0, 0, 1.0), (1, 1000, 0.00474), (5, 5, 1.0)]
)
def test_the_bound_is_that_of_the_rule_of_three(bad: int, count: int, bound: float) -> None:
    assert upper_bound(bad, count) == pytest.approx(bound, rel=0.01)


def test_the_command_prints_json_and_fails_on_a_bad_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maildir_safe", "torture", "--json", "--writers", "2"]

    def run(seconds: float) -> subprocess.CompletedProcess[str]:
        words = [*command, "--minutes", str(seconds / 60), str(tmp_path)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    result = until_shown(run, 1.8, lambda done: json.loads(done.stdout or "{}").get("acknowledged"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["lost"] == []
    result = subprocess.run([*command, str(tmp_path / "absent")], capture_output=True, text=True, check=False)
    assert result.returncode == 75
    assert "absent" in result.stderr
