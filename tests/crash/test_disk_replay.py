"""Every crash of a real file system: ours loses nothing, what leaves out a step loses acknowledged mail.

Each workload runs on ext4, xfs and btrfs while all block writes and flushes of the disk are
recorded; then each state that a crash may leave (`disk_states`) is rebuilt, mounted and compared
with what had been acknowledged. MAILDIR_SAFE_CRASH_MESSAGES sets the messages a workload (32),
MAILDIR_SAFE_CRASH_SEED the seed of the random halves (1): `make prove` raises the first.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import disk_workloads
import pytest
from disk_mounts import REPLAYED, SIZES, isolated, make_file_system, memory, mounted, recorded
from disk_recorder import Record, read_log
from disk_states import Image, crash_states, load_image, save_image
from disk_verdict import Verdict, judge
from disk_workloads import CONTROLS, MODELS, OURS

pytestmark = pytest.mark.mounts

Note = Callable[[str, object], None]

MESSAGES = int(os.environ.get("MAILDIR_SAFE_CRASH_MESSAGES", "32"))
SEED = int(os.environ.get("MAILDIR_SAFE_CRASH_SEED", "1"))


@dataclass
class Result:
    """One workload on one file system, all its crashes.

    Attributes:
        states: distinct states that were rebuilt and mounted.
        losing: those in which an acknowledged message is missing.
        broken: those in which anything is wrong: kind of state, position in the log, what.
    """

    states: int
    losing: int
    broken: list[tuple[str, int, Verdict]]


def record(kind: str, workload: str, count: int, scratch: Path) -> tuple[Image, list[Record]]:
    """The disk before, and everything that happened to it while the workload ran."""
    image, log = scratch / "image", scratch / "log"
    make_file_system(kind, image)
    base = load_image(image)
    with recorded(kind, image, log, scratch) as (directory, marks):
        command = [sys.executable, disk_workloads.__file__, workload, directory / "box", marks, str(count)]
        subprocess.run(command, check=True, timeout=120)
        raw = log.read_bytes()
    image.unlink()
    return base, list(read_log(io.BytesIO(raw)))


def _replay(kind: str, workload: str, directory: Path) -> Result:
    with memory(directory / "memory") as scratch:
        return _replay_in(kind, workload, scratch)


def _replay_in(kind: str, workload: str, scratch: Path) -> Result:
    states, losing, broken, most = 0, 0, [], 0
    for state in crash_states(*record(kind, workload, MESSAGES, scratch), seed=SEED):
        save_image(state.image, scratch / "crashed", SIZES[kind])
        with mounted(kind, scratch / "crashed", scratch / "recovered") as root:
            verdict = judge(root / "box", state.acknowledged, MESSAGES)
        states += 1
        losing += bool(verdict.lost)
        most = max(most, len(state.acknowledged))
        if verdict:
            broken.append((state.kind, state.position, verdict))
    assert most == MESSAGES, "the log is not complete"
    return Result(states, losing, broken)


def _report(kind: str, who: str, workload: str, result: Result, note: Note) -> None:
    wrong = len(result.broken) - result.losing
    figures = f"{result.losing:5} lose acknowledged mail,{wrong:4} otherwise wrong (seed {SEED})"
    note("note", f"{kind:5} {who:7} {workload:18} {result.states:5} states replayed,{figures}")


@pytest.mark.parametrize("workload", [one.__name__ for one in (*OURS, *MODELS)])
@pytest.mark.parametrize("kind", REPLAYED)
def test_no_crash_loses_what_was_acknowledged(
    kind: str, workload: str, tmp_path: Path, record_property: Note
) -> None:
    result = isolated(_replay, kind, workload, tmp_path)
    who = "ours" if disk_workloads.WORKLOADS[workload] in OURS else "model"
    _report(kind, who, workload, result, record_property)
    assert result.broken == []


@pytest.mark.parametrize("workload", [one.__name__ for one in CONTROLS])
@pytest.mark.parametrize("kind", REPLAYED)
def test_controls_lose_acknowledged_mail(
    kind: str, workload: str, tmp_path: Path, record_property: Note
) -> None:
    result = isolated(_replay, kind, workload, tmp_path)
    _report(kind, "control", workload, result, record_property)
    assert result.losing > 0


def test_on_btrfs_an_fsync_of_the_target_alone_leaves_both_names(
    tmp_path: Path, record_property: Note
) -> None:
    """The control for `move_fsync_both`: a name that was on the disk before the rename comes back."""
    result = isolated(_replay, "btrfs", "move_fsync_target", tmp_path)
    _report("btrfs", "control", "move_fsync_target", result, record_property)
    assert result.losing == 0
    assert any(verdict.doubled for _, _, verdict in result.broken)
