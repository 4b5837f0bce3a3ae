"""`maildir-safe torture` on real mounts: 20 seconds of SIGKILL each; 10 where `make lab` runs on all."""

from __future__ import annotations

import os
from collections.abc import Callable

from mounts import CHOSEN, on_mounts

from benchmarks.mounts import Mount
from maildir_safe.check.torture import torture

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
