"""The benchmark measures what it says, verifies it, and claims no more than the rounds show."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from maildir_safe._bench import queueing, runner
from maildir_safe._bench.cases import CASES, Case, message, one_by_one
from maildir_safe._bench.network import nfs_calls, smb_calls
from maildir_safe._bench.report import report
from maildir_safe._bench.runner import Measured, bench
from maildir_safe._bench.stats import percentile, spread, verdict
from maildir_safe._cli import main
from maildir_safe._delivery.receipt import Receipt
from maildir_safe._queue.queue import Queue


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "QUICK_SECONDS", 0.01)
    monkeypatch.setattr(runner, "QUICK_LONGEST", 600.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_delivers_what_it_was_given(case: Case, tmp_path: Path) -> None:
    one = Measured(case)
    runner._round(tmp_path / "m", one, 0.01)
    assert (one.lost, one.doubled, one.error) == (0, 0, "")
    assert one.per_second[0] > 0


def test_a_way_that_loses_and_doubles_is_found_out(tmp_path: Path) -> None:
    def careless(path: Path, _staging: str | None = None) -> object:
        honest = one_by_one(path)

        def deliver(mails: list[bytes]) -> list[Receipt]:
            return honest(mails[1:] + mails[-1:])

        return deliver

    one = Measured(Case("careless", True, careless, 10))  # type: ignore[arg-type]
    runner._round(tmp_path / "m", one, 0.01)
    assert one.lost >= 1
    assert one.doubled >= 1


def test_a_queue_that_loses_a_message_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Queue.claim
    monkeypatch.setattr(Queue, "claim", lambda self, limit: real(self, limit)[1:])
    one = Measured(Case("queue", True, queueing.in_groups, 32))
    runner._round(tmp_path / "m", one, 0.01)
    assert one.lost >= 1


def test_time_that_is_up_leaves_out_what_would_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "QUICK_LONGEST", 1e-6)
    result = bench(str(tmp_path), True, lambda *_: None)
    assert all(case["error"].startswith("not measured") for case in result["cases"][1:])
    assert list(tmp_path.iterdir()) == []


def test_a_stall_is_a_message_that_took_longer_than_a_second() -> None:
    one = Measured(CASES[0])
    marks = ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.4], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
    one.add([Receipt("p", "k", "full", 1, marks=each) for each in marks], 2.3)
    assert one.stalls == 1


def test_directories_are_filled_as_far_as_the_mount_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FILLED", (10, 1000, 1500))
    monkeypatch.setattr(runner, "FAST", 0.0)
    assert [*runner._all_filled(tmp_path, lambda *_: None)] == ["10", "1000", "1500"]
    monkeypatch.setattr(runner, "FAST", 1e9)
    found = runner._all_filled(tmp_path, lambda *_: None)
    assert [*found] == ["10", "1000"]
    assert len(found["10"]["rounds"]) == 5


NFS = """device proc mounted on /proc with fstype proc
device s:/m mounted on /mnt/a with fstype nfs4 statvers=1.1
\topts:\trw
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: 7 7 0 0 0 0 0 0 0
\t       WRITE: 5 5 0 0 0 0 0 0 0

device s:/m mounted on /mnt/ab with fstype nfs4 statvers=1.1
\tper-op statistics
\t        READ: 900 1 0 0 0 0 0 0 0
"""
SMB = r"""Resources in use
CIFS Session: 1
Max requests in flight: 2
1) \\server\mail
SMBs: 9
Bytes read: 0  Bytes written: 0
2) \\SERVER\mail DISCONNECTED
SMBs: 3
3) \\server\mail2
SMBs: 900
"""


def test_network_calls_are_those_of_the_mount_alone() -> None:
    assert nfs_calls(NFS, "/mnt/a") == 13
    assert nfs_calls(NFS, "/mnt/c") is None
    assert smb_calls(SMB, "//server/mail") == 12
    assert smb_calls(SMB, "//server/other") is None


def test_a_mixed_load_is_the_same_each_time_and_mostly_small() -> None:
    sizes = sorted(len(message(number, 0)) for number in range(1000))
    assert sizes == sorted(len(message(number, 0)) for number in range(1000))
    assert sizes[500] < 16384 < sizes[-1] <= (1 << 20) + 1


def test_results_become_a_report_and_compare_with_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {"environment": runner.environment(), "mounts": [bench(str(tmp_path), True, lambda *_: None)]}
    assert list(tmp_path.iterdir()) == []
    page = report(results)
    assert page.count("<svg") == 2
    assert "none was lost or doubled" in page
    assert "http://" not in page.replace("http://www.w3.org", "")  # it stands alone
    (tmp_path / "a.json").write_text(json.dumps(results))
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(results["mounts"][0]["cases"])  # type: ignore[index]
    assert all("1.00" in line and line.endswith("no significant difference") for line in lines)


def test_compare_refuses_what_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 75
    assert "not a result" in capsys.readouterr().err


def test_differences_are_told_only_where_the_rounds_show_them() -> None:
    chance = random.Random(1)
    base = [100 + chance.gauss(0, 5) for _ in range(12)]
    assert verdict(base, [2 * value for value in base]) == "faster"
    assert verdict(base, [value / 2 for value in base]) == "slower"
    assert verdict(base, [100 + chance.gauss(0, 5) for _ in range(12)]) == "no significant difference"
    assert verdict(base[:4], [2 * value for value in base[:4]]) == "too few rounds to tell"


def test_percentiles_and_spread() -> None:
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (51, 100, 100)
    assert spread([90, 100, 110]) == pytest.approx(0.1)
