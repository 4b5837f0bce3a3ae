"""Mounts: up, running, down."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.mounts import afs, ceph, gluster, http, layers, local, moosefs, nfs, smb, ssh
from benchmarks.mounts.kind import Kind
from benchmarks.mounts.network import plug
from benchmarks.mounts.stage import MountError, Stage

_FAMILIES = (local, layers, ssh, http, smb, nfs, afs, gluster, moosefs, ceph)
KINDS: dict[str, Kind] = {kind.name: kind for family in _FAMILIES for kind in family.KINDS}
IN_GUEST = ("nfs3", "nfs42", "cifs", "afs", "9p", "vfat", "reiserfs", "jfs", "f2fs")
"""The kinds that the guest's kernel has and many others have not."""
DEFAULT_BASE = Path("/tmp/maildir-safe-mounts")


class Mount:
    """A mount that is up.

    Attributes:
        kind: what it is.
        paths: the mount points; two where two clients share one export.
    """

    def __init__(self, kind: Kind, stage: Stage, paths: list[Path]) -> None:
        self.kind = kind
        self.paths = paths
        self._stage = stage

    def folder(self) -> Path:
        """A new, empty directory on the mount, made by its first client."""
        return Path(tempfile.mkdtemp(prefix="t", dir=self.paths[0]))

    def stop(self, server: str) -> None:
        """End a server's processes at once, as a crash would; `server` is its host's name, such as s2."""
        self._stage.kill(server)

    @contextlib.contextmanager
    def unplugged(self, host: str) -> Iterator[None]:
        """The network of one host is away for the length of a `with` block; its processes live on."""
        plug(self._stage, host, in_=False)
        try:
            yield
        finally:
            plug(self._stage, host, in_=True)

    def start(self, server: str) -> None:
        """Start a stopped server again, or a stopped client: its mount is made anew.

        Raises:
            MountError: it does not start, or this kind has no servers to stop.
        """
        if self.kind.restart is None:
            raise MountError(f"{self.kind.name} has no servers that can be stopped and started")
        self.kind.restart(self._stage, server)

    def down(self, force: bool = False) -> None:
        """Take it down and remove all it left.

        Args:
            force: end other processes that keep its disk busy.

        Raises:
            MountError: something still holds on to it, such as an open file.
        """
        gc.collect()  # what the caller has dropped may still have directories open
        self._stage.sweep(force)


def in_guest() -> bool:
    """Whether this machine is the emulated guest, which is thrown away after use."""
    return Path("/run/maildir-safe-guest").exists()


def up(name: str, base: Path = DEFAULT_BASE, size: int = 512) -> Mount:
    """Bring a mount up in `base`/`name`.

    Args:
        name: a key of `KINDS`.
        base: directory for the stages of mounts.
        size: MiB of disk images and of file systems in memory.

    Raises:
        MountError: it did not come up; nothing of it is left.
    """
    if os.getuid():
        raise MountError("mounts need root")
    if KINDS[name].guest and not in_guest():
        raise MountError(f"{name} needs the guest: python -m benchmarks.mounts guest --fs {name} -- COMMAND")
    stage = Stage(base / name, size)
    stage.open()
    try:
        paths = KINDS[name].start(stage)
        stage.write("paths", "".join(f"{path}\n" for path in paths))
    except BaseException:
        stage.sweep()
        raise
    return Mount(KINDS[name], stage, paths)


def running(base: Path = DEFAULT_BASE) -> dict[str, Mount]:
    """The mounts in `base` by name, whoever started them; one whose start was killed has no paths."""
    found = {}
    for name in KINDS:
        if (base / name).is_dir():
            file = base / name / "paths"
            paths = [Path(line) for line in file.read_text().splitlines()] if file.exists() else []
            found[name] = Mount(KINDS[name], Stage(base / name), paths)
    return found


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A new base directory; gone afterwards, unless something is still mounted in it."""
    base = Path(tempfile.mkdtemp(prefix="mounts."))
    base.chmod(0o755)  # servers have users of their own
    try:
        yield base
    finally:
        with contextlib.suppress(OSError):
            base.rmdir()  # never what is in it: that might be a mount which did not go away


@contextlib.contextmanager
def mounted(name: str, base: Path | None = None, size: int = 512) -> Iterator[Mount]:
    """A mount for the length of a `with` block; see `up`.

    Args:
        name: a key of `KINDS`.
        base: directory for the stages of mounts; by default a new one.
        size: MiB of disk images and of file systems in memory.
    """
    with contextlib.ExitStack() as stack:
        mount = up(name, base or stack.enter_context(scratch()), size)
        stack.callback(mount.down, force=True)
        yield mount
