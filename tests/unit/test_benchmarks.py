"""What the benchmarks make of what they measure; how fast anything is, is not asked here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kept import before, keep
from benchmarks.paired import HERE, ratios, take_turns, too_slow
from benchmarks.queue_delivery import bare, ours, rate
from benchmarks.reading import LISTS, OURS, READS, figures, fill, in_turns


def test_two_versions_are_compared_round_by_round() -> None:
    """The machine was twice as slow in the second round, for both."""
    found = ratios(
        [{"put": 1.05, "ack": 1.2}, {"put": 2.1, "ack": 2.4}, {"put": 9.0, "ack": 1.2}],
        [{"put": 1.0, "ack": 1.0}, {"put": 2.0, "ack": 2.0}, {"put": 1.0, "ack": 1.0}],
    )
    assert found == {"put": 1.05, "ack": 1.2}
    assert too_slow(found) == ["ack"]


def test_both_versions_take_the_same_steps(tmp_path: Path) -> None:
    now, then = take_turns([HERE, HERE], tmp_path, 1)
    assert len(now) == len(then) == 1
    assert [*now[0]] == [*then[0]]
    assert {"deliver", "put", "claim", "ack"} <= set(now[0])
    assert [*tmp_path.iterdir()] == []


def test_each_version_runs_the_package_of_its_own_tree(tmp_path: Path) -> None:
    package = tmp_path / "tree" / "maildir_safe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('this one was imported')\n")
    with pytest.raises(ValueError, match="Expecting value"):  # it answers nothing
        take_turns([HERE, tmp_path / "tree"], tmp_path, 1)


def test_every_message_goes_through_the_queue_into_the_maildir(tmp_path: Path) -> None:
    assert rate(ours, tmp_path, 3) > 0
    assert rate(bare, tmp_path, 3) > 0
    assert [*tmp_path.iterdir()] == []


def test_the_results_of_the_run_before_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results" / "deliver.json"
    for number in range(3):
        keep(path, {"run": number})
    assert json.loads(path.read_text()) == {"run": 2}
    assert json.loads(before(path).read_text()) == {"run": 1}


def test_every_way_of_reading_finds_every_message(tmp_path: Path) -> None:
    fill(tmp_path / "box", 5, lambda number: b"Subject: %d\n\n" % number)
    seconds = in_turns({**LISTS, **READS}, tmp_path / "box", 5, 2)
    assert {len(took) for took in seconds.values()} == {2}
    with pytest.raises(ValueError, match="5 of 6 messages"):
        in_turns(LISTS, tmp_path / "box", 6, 1)


def test_twice_as_fast_as_the_standard_library_is_two() -> None:
    seconds = {name: [2.0, 4.0] for name in (*LISTS, *READS)} | {OURS: [1.0, 2.0]}
    assert [figure.value for figure in figures(seconds)] == [2.0, 1.0, 1.0]


def test_the_command_takes_mail_through_the_queue_of_both(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.queue_delivery", tmp_path, "--messages", "5", "--rounds", "1"],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert re.search(r"ours \d+/s, bare \d+/s", done.stdout), done.stderr  # how fast is not asked here
