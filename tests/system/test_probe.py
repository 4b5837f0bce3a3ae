"""`maildir-safe probe` on real mounts: its facts and verdicts agree with those measured before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from facts import FACTS, differences
from mounts import EVERY, on_mounts

from benchmarks.mounts import Mount


@on_mounts(*[kind for kind in EVERY if kind in FACTS])
def test_the_probe_agrees_with_what_was_measured(
    mount: Mount, record_property: Callable[[str, object], None]
) -> None:
    command = [sys.executable, "-m", "maildir_safe", "probe", "--json", str(mount.paths[0])]
    if len(mount.paths) > 1:
        command += ["--second", str(mount.paths[1])]
    before = sorted(mount.paths[0].iterdir())
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout, result.stderr
    report = json.loads(result.stdout)
    record_property("note", f"probe {mount.kind.name}: {report['verdict']} {report['use'] or ''}")
    assert differences(mount.kind.name, report) == []
    assert sorted(mount.paths[0].iterdir()) == before  # it cleans up after itself
    assert result.returncode == report["verdict"].startswith("UNSAFE")
