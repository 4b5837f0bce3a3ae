"""What a kind of mount is: how to start it, and what it needs of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mounts.stage import Stage


@dataclass(frozen=True)
class Kind:
    """One kind of mount.

    Attributes:
        name: as the command line and the tests call it.
        about: one line for people.
        packages: Debian packages that it needs.
        start: brings it up on an open stage; returns the mount points: one, or two clients of one export.
        fstype: what the kernel must know, as in /proc/filesystems.
        python: PyPI packages that Debian lacks; they get a virtual environment of their own.
        guest: it needs the emulated guest (`benchmarks.mounts.guest`), because it changes its machine.
        restart: starts a server that `Stage.kill` ended, by its name; None if there is nothing to stop.
    """

    name: str
    about: str
    packages: tuple[str, ...]
    start: Callable[[Stage], list[Path]]
    fstype: str = "fuse"
    python: tuple[str, ...] = ()
    guest: bool = False
    restart: Callable[[Stage, str], None] | None = None
