"""Every crash of a real file system, for the queue: nothing accepted is lost, nothing is in two places,
and what was reported as done does not come back.

The items had been on the disk for long when they were claimed, as they have in a real queue: on
btrfs a name that is on the disk already survives a rename whose target directory alone is fsynced.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from disk_mounts import REPLAYED, SIZES, isolated, memory, mounted
from disk_queue import complaints, drained, second_names
from disk_states import crash_states, save_image
from test_disk_replay import SEED, record

pytestmark = pytest.mark.mounts

MESSAGES = 12


Broken = list[tuple[str, int, list[str]]]


def _replay(kind: str, workload: str, directory: Path, drain: bool = False) -> tuple[int, int, Broken]:
    """The states replayed, how many had a message with two names, and what was wrong."""
    states, linked, broken = 0, 0, []
    with memory(directory / "memory") as scratch:
        for state in crash_states(*record(kind, workload, MESSAGES, scratch), seed=SEED):
            save_image(state.image, scratch / "crashed", SIZES[kind])
            with mounted(kind, scratch / "crashed", scratch / "recovered") as root:
                wrong = complaints(root, state.acknowledged, MESSAGES, workload)
                linked += second_names(root) > 0
                if drain and not wrong:
                    wrong = _apart(drained, root, state.acknowledged, MESSAGES)
            states += 1
            if wrong:
                broken.append((state.kind, state.position, wrong))
    return states, linked, broken


def _apart(function: Callable[..., list[str]], *args: object) -> list[str]:
    """Call a function in a child, so that no descriptor of its own keeps the mount busy."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *args).result()


@pytest.mark.parametrize("workload", ["queue_ack", "queue_ack_into", "queue_release"])
@pytest.mark.parametrize("kind", REPLAYED)
def test_no_crash_loses_doubles_or_brings_back(
    kind: str, workload: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    states, _, broken = isolated(_replay, kind, workload, tmp_path)
    figures = f"{kind:5} {workload:15} {states:5} states replayed, {len(broken):4} wrong (seed {SEED})"
    record_property("note", figures)
    assert broken == []


@pytest.mark.parametrize("kind", REPLAYED)
def test_no_crash_doubles_an_item_that_has_a_second_name(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A worker that starts after the crash, moreover, leaves each message with one name, and no item."""
    states, linked, broken = isolated(_replay, kind, "queue_second_name", tmp_path, True)
    record_property(
        "note", f"{kind:5} {states:5} states replayed, {linked:5} with a second name (seed {SEED})"
    )
    assert broken == []
    assert linked > MESSAGES  # else this has shown nothing


@pytest.mark.parametrize("kind", REPLAYED)
def test_a_second_name_that_nobody_looks_for_stays_in_the_queue(kind: str, tmp_path: Path) -> None:
    """The control: a rename of one name of a file onto the other succeeds and does nothing."""
    _, _, broken = isolated(_replay, kind, "queue_second_name_unseen", tmp_path)
    assert any("still in the queue" in words for _, _, wrong in broken for words in wrong)
