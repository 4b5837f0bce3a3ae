"""Builds of this tree, for the tests of a release and of its installation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools.release import build

ROOT = Path(__file__).parents[2]
EPOCH = "1700000000"


def tracked() -> list[str]:
    """The files that a commit of this tree would have."""
    done = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    )
    return [name for name in done.stdout.decode().split("\0") if name and (ROOT / name).exists()]


def copied(tree: Path) -> Path:
    """A copy of this tree, as a clone would have it."""
    for name in tracked():
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)  # with its mode
    return tree


def built(tree: Path, dist: Path) -> list[Path]:
    """A build of a tree into a new directory."""
    dist.mkdir()
    return build(tree, dist, EPOCH)
