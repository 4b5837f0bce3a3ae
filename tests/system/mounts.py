"""Tests on real mounts: a decorator that runs a test on several kinds of `benchmarks.mounts`.

@on_mounts("ext4", "sshfs-nolink")
def test_something(mount):
    directory = mount.folder()        # new and empty; mount.paths: the mount points, two if shared
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mounts import KINDS, Mount, MountError, kernel_knows, missing, up

# what `make test-mounts` runs: each refuses or bends something that a Maildir used to rely on
CI_KINDS = (
    "ext4", "xfs", "btrfs", "tmpfs", "overlay", "sshfs", "sshfs-nolink", "exfat", "encfs-paranoia", "gluster",
)  # fmt: skip


# kinds for the promises that hold on every mount: MOUNTS="all", or names, chooses others (`make lab`)
EVERY = tuple(os.environ.get("MOUNTS", "").replace("all", " ".join(KINDS)).split()) or CI_KINDS


def on_mounts(*kinds: str) -> Callable[[Any], Any]:
    """Run a test that takes the fixture `mount` on each of these kinds."""

    def mark(test: Any) -> Any:
        return pytest.mark.mounts(pytest.mark.parametrize("mount", kinds, indirect=True)(test))

    return mark


class Mounts:
    """The mounts of one test session, each brought up at its first use."""

    def __init__(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="maildir-safe-mounts."))
        self._base.chmod(0o755)  # servers have users of their own
        self._up: dict[str, Mount] = {}
        self._broken: dict[str, str] = {}

    def get(self, name: str) -> Mount:
        """A mount, up. Without it the test is skipped, but in CI (CI=true) it fails: only a kernel that
        lacks the file system excuses it there.
        """
        kind = KINDS[name]
        if name not in self._up and name not in self._broken:
            if not kernel_knows(kind.fstype):
                pytest.skip(f"{name}: this kernel has no {kind.fstype}")
            self._try(name)
        if name in self._broken:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"{name}: {self._broken[name]}")
        return self._up[name]

    def _try(self, name: str) -> None:
        lacks = missing(KINDS[name])
        if lacks:
            self._broken[name] = lacks
            return
        try:
            self._up[name] = up(name, self._base)
        except MountError as error:
            self._broken[name] = str(error)

    def down(self) -> None:
        """Take all of them down, also when one resists; then say which did."""
        errors = []
        for name, mount in self._up.items():
            try:
                mount.down()
            except MountError as error:
                errors.append(f"{name}: {error}")
        if errors:
            raise MountError("; ".join(errors))
        shutil.rmtree(self._base)
