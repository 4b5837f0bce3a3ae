"""`maildir-safe torture` on real mounts: 20 seconds of SIGKILL each; 10 where `make lab` runs on all.

A queue is drained after that, and on sshfs its lease of a minute is waited for. Not on s3fs, whose
renames copy: docs/explanation/queue.md promises nothing there, and in ten seconds nothing may have been put.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from mounts import CHOSEN, on_mounts

from benchmarks.mounts import Mount
from maildir_safe._check.torture import torture
from maildir_safe._check.torture_queue import torture_queue

SECONDS = 120 if os.environ.get("PROVE") == "long" else 10 if CHOSEN else 20


@on_mounts(*(CHOSEN or ("ext4", "sshfs-nolink", "gluster")))
def test_killed_writers_lose_and_double_nothing(
    mount: Mount, record_property: Callable[[str, object], None]
) -> None:
    report = torture(str(mount.folder()), SECONDS, 4, seed=1, progress=lambda share, words: None)  # noqa: ARG005
    record_property(
        "note",
        f"torture {mount.kind.name}: {report.acknowledged} acknowledged, {report.kills} kills,"
        f" {report.retried} retried, lost {len(report.lost)}, doubled {len(report.doubled)},"
        f" partial {len(report.partial)}",
    )
    assert report.passed, report.as_dict()
    assert report.kills >= 3


@pytest.mark.timeout(3 * SECONDS + 600)
@on_mounts(*([kind for kind in CHOSEN if kind != "s3fs"] or ("ext4", "sshfs-nolink", "gluster-arbiter")))
def test_a_queue_of_killed_and_stopped_processes_loses_and_doubles_nothing(
    mount: Mount, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maildir_safe._check.torture_queue.DRAIN", 300.0)  # what is stuck stays stuck
    report = torture_queue(str(mount.folder()), SECONDS, 4, seed=1, progress=lambda share, words: None)  # noqa: ARG005
    record_property(
        "note",
        f"torture --queue {mount.kind.name}: {report.acknowledged} acknowledged, {report.kills} kills,"
        f" lost {len(report.lost)}, doubled {len(report.doubled)}, partial {len(report.partial)},"
        f" {report.stopped} workers stopped, {report.leases_lost} leases lost with {report.claims_lost}"
        f" messages in hand, upper bound {report.bound():.2g}",
    )
    assert report.passed, report.as_dict()
    assert report.kills >= 3
    assert report.stopped >= 1
