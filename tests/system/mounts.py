"""Tests on real mounts: a decorator that runs a test on several kinds of `benchmarks.mounts`.

@on_mounts("ext4", "sshfs-nolink")
def test_something(mount):
    directory = mount.folder()        # new and empty; mount.paths: the mount points, two if shared
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mounts import (
    KINDS,
    Kind,
    Mount,
    MountError,
    in_guest,
    kernel_knows,
    missing,
    mounted,
    running,
    scratch,
    up,
)  # fmt: skip

# what `make test-mounts` runs: each refuses or bends something that a Maildir used to rely on
CI_KINDS = (
    "ext4", "xfs", "btrfs", "tmpfs", "overlay", "sshfs", "sshfs-nolink", "exfat", "encfs-paranoia", "gluster",
)  # fmt: skip


# mounts that `python -m benchmarks.mounts run` (or `guest`) brought up for us
_GIVEN = running(Path(os.environ["MOUNTS_BASE"])) if "MOUNTS_BASE" in os.environ else {}
# what the promises that hold on every mount are tested on: those, or MOUNTS="all", or MOUNTS="ext4 sshfs"
_CHOICE = os.environ.get("MOUNTS", "").split()
_ALL = [name for name, kind in KINDS.items() if not kind.guest]
CHOSEN = tuple(_GIVEN or (_ALL if _CHOICE == ["all"] else _CHOICE))
EVERY = CHOSEN or CI_KINDS


def on_mounts(*kinds: str) -> Callable[[Any], Any]:
    """Run a test that takes the fixture `mount` on each of these kinds."""

    def mark(test: Any) -> Any:
        return pytest.mark.mounts(pytest.mark.parametrize("mount", kinds, indirect=True)(test))

    return mark


class Mounts:
    """The mounts of one test session, each brought up at its first use."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._base = self._stack.enter_context(scratch())
        self._up = dict(_GIVEN)
        self._broken: dict[str, str] = {}

    def get(self, name: str) -> Mount:
        """A mount, up. Without it the test is skipped, but in CI (CI=true) it fails: only a kernel that
        lacks the file system excuses it there.
        """
        if name not in self._up and name not in self._broken:
            kind = KINDS[name]
            if kind.guest and not in_guest():
                pytest.skip(f"{name}: in the guest (python -m benchmarks.mounts guest --help)")
            if not kernel_knows(kind.fstype):
                pytest.skip(f"{name}: this kernel has no {kind.fstype}")
            self._bring_up(kind)
        if name in self._broken:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"{name}: {self._broken[name]}")
        return self._up[name]

    def _bring_up(self, kind: Kind) -> None:
        lacks = missing(kind)
        if lacks:
            self._broken[kind.name] = lacks
            return
        try:
            if in_guest():
                self._up[kind.name] = up(kind.name, self._base)  # the machine is thrown away
            else:
                self._up[kind.name] = self._stack.enter_context(mounted(kind.name, self._base))
        except MountError as error:
            self._broken[kind.name] = str(error)

    def down(self) -> None:
        """Take all of them down, also when one resists, which is an error."""
        self._stack.close()
