"""The simplest crash test: copy the disk right after the acknowledgement, mount the copy, count.

What is only in the machine's memory is not in the copy, as after a power cut. (`test_disk_replay`
looks at every moment; this looks at one, with more messages and without a recorder.) What this kernel
lacks runs in the guest:

    python -m benchmarks.mounts guest --fs jfs -- python3 -m pytest -rP tests/crash/test_disk_copy.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import disk_workloads
import pytest
from disk_mounts import SIZES, isolated, make_file_system, memory, mounted
from disk_states import load_image, save_image
from disk_verdict import judge

from benchmarks.mounts import kernel_knows
from maildir_safe._fs.quirks import quirks

pytestmark = pytest.mark.mounts

MESSAGES = 100
ROOT = Path(__file__).parents[2]  # in the guest the package is not installed


def _survivors(kind: str, workload: str, directory: Path) -> int:
    with memory(directory / workload) as scratch:
        return _survivors_in(kind, workload, scratch)


def _survivors_in(kind: str, workload: str, scratch: Path) -> int:
    image, marks = scratch / "image", scratch / "marks"
    make_file_system(kind, image)
    marks.touch()
    with mounted(kind, image, scratch / "mounted") as directory:
        command = [sys.executable, disk_workloads.__file__, workload, directory / "box", marks, str(MESSAGES)]
        subprocess.run(command, check=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)})
        save_image(load_image(image), scratch / "copy", SIZES[kind])
    if kind == "jfs":  # the kernel leaves it to fsck to replay the journal
        subprocess.run(["jfs_fsck", "-a", scratch / "copy"], check=False, capture_output=True)
    with mounted(kind, scratch / "copy", scratch / "recovered") as root:
        verdict = judge(root / "box", frozenset(range(MESSAGES)), MESSAGES)
    assert not verdict.doubled
    assert not verdict.incomplete
    return MESSAGES - len(verdict.lost)


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kernel_knows(kind)])
def test_acknowledged_messages_are_on_the_disk(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    workloads = ("deliver", "deliver_many", "stdlib")
    survivors = {workload: isolated(_survivors, kind, workload, tmp_path) for workload in workloads}
    told = ", ".join(f"{workload} {number}" for workload, number in survivors.items())
    record_property("note", f"{kind:5} of {MESSAGES} acknowledged messages on the copied disk: {told}")
    if quirks(kind).durability == "full":
        assert survivors["deliver"] == survivors["deliver_many"] == MESSAGES
    else:  # the table says so because of this
        assert survivors["deliver"] < MESSAGES
    assert survivors["stdlib"] < MESSAGES
