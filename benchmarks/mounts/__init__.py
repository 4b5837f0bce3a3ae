"""Real mounts for tests and comparisons, brought up and taken down by one call each (root, Debian).

    with mounted("sshfs-nolink") as mount:
        one, other = mount.paths          # two clients of one export

On the command line: ``python -m benchmarks.mounts --help``.
"""

from __future__ import annotations

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.mount import (
    DEFAULT_BASE,
    IN_GUEST,
    KINDS,
    Mount,
    in_guest,
    mounted,
    running,
    scratch,
    up,
)
from benchmarks.mounts.packages import install, kernel_knows, missing, packages
from benchmarks.mounts.stage import MountError

__all__ = [
    "DEFAULT_BASE",
    "IN_GUEST",
    "KINDS",
    "Kind",
    "Mount",
    "MountError",
    "in_guest",
    "install",
    "kernel_knows",
    "missing",
    "mounted",
    "packages",
    "running",
    "scratch",
    "up",
]
