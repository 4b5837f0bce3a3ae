"""Every crash of a real file system, for the queue: nothing accepted is lost, nothing is in two places,
and what was reported as done does not come back.

The items had been on the disk for long when they were claimed, as they have in a real queue: on
btrfs a name that is on the disk already survives a rename whose target directory alone is fsynced.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from disk_mounts import REPLAYED, SIZES, isolated, memory, mounted
from disk_queue import complaints
from disk_states import crash_states, save_image
from test_disk_replay import SEED, record

pytestmark = pytest.mark.mounts

MESSAGES = 12


def _replay(kind: str, workload: str, directory: Path) -> tuple[int, list[tuple[str, int, list[str]]]]:
    states, broken = 0, []
    with memory(directory / "memory") as scratch:
        for state in crash_states(*record(kind, workload, MESSAGES, scratch), seed=SEED):
            save_image(state.image, scratch / "crashed", SIZES[kind])
            with mounted(kind, scratch / "crashed", scratch / "recovered") as root:
                wrong = complaints(root, state.acknowledged, MESSAGES, workload)
            states += 1
            if wrong:
                broken.append((state.kind, state.position, wrong))
    return states, broken


@pytest.mark.parametrize("workload", ["queue_ack", "queue_ack_into", "queue_release"])
@pytest.mark.parametrize("kind", REPLAYED)
def test_no_crash_loses_doubles_or_brings_back(
    kind: str, workload: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    states, broken = isolated(_replay, kind, workload, tmp_path)
    figures = f"{kind:5} {workload:15} {states:5} states replayed, {len(broken):4} wrong (seed {SEED})"
    record_property("note", figures)
    assert broken == []
