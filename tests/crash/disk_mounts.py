"""Real file systems on recorded and rebuilt disks; needs root, loop devices, FUSE."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MEBI = 1 << 20
SIZES = {"ext4": 48 * MEBI, "xfs": 300 * MEBI, "btrfs": 128 * MEBI}
SIZES |= {"ext3": 48 * MEBI, "ext2": 48 * MEBI, "reiserfs": 128 * MEBI, "jfs": 64 * MEBI, "f2fs": 128 * MEBI}
REPLAYED = ("ext4", "xfs", "btrfs")
_MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-b4096", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-s", "size=4096"],
    "btrfs": ["mkfs.btrfs", "-q", "-m", "single", "-d", "single"],
    "ext3": ["mkfs.ext3", "-q", "-b4096", "-J", "size=4"],
    "ext2": ["mkfs.ext2", "-q", "-b4096"],
    "reiserfs": ["mkreiserfs", "-q", "-ff"],
    "jfs": ["mkfs.jfs", "-q"],
    "f2fs": ["mkfs.f2fs", "-q"],
}
_CLONE_NEWNS = 0x20000
_HERE = Path(__file__).parent


def isolated(function: Callable[..., T], *args: object) -> T:
    """Call a function in a process that has its mounts for itself.

    A mount namespace that somebody else makes meanwhile (`unshare`, containers) would keep a copy
    of our mounts, so that they could not be taken down; and what a crash of the test leaves
    behind, the kernel removes with the process.
    """
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_own_mounts) as pool:
        return pool.submit(function, *args).result()


def _own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")


def run(*command: str | Path) -> str:
    """Run a command; its output. Its error output is in the exception if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


def make_file_system(kind: str, image: Path) -> None:
    """A new file system in a new sparse file."""
    image.touch()
    os.truncate(image, SIZES[kind])
    run(*_MKFS[kind], image)


@contextmanager
def memory(directory: Path) -> Iterator[Path]:
    """A tmpfs on a directory: images must not wait for the disk of the machine that runs the test."""
    directory.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", directory)
    try:
        yield directory
    finally:
        run("umount", directory)


@contextmanager
def mounted(kind: str, device: str | Path, directory: Path) -> Iterator[Path]:
    """Mount a device or an image; the file system recovers from its crash in doing so."""
    directory.mkdir(exist_ok=True)
    loop = [] if str(device).startswith("/dev/") else ["-o", "loop"]
    if kind == "btrfs":  # it remembers devices by their id, and refuses one older than it remembers
        run("btrfs", "device", "scan", "--forget")
    run("mount", "-t", kind, *loop, device, directory)
    try:
        yield directory
    finally:
        run("umount", directory)


@contextmanager
def recorded(kind: str, image: Path, log: Path, scratch: Path) -> Iterator[tuple[Path, Path]]:
    """Mount an image so that every block write and flush goes into a log.

    Yields:
        the mounted directory, and the file that takes the workload's marks.
    """
    below, above = scratch / "recorder", scratch / "mounted"
    below.mkdir(exist_ok=True)
    with ExitStack() as stack:
        command = [sys.executable, _HERE / "disk_recorder.py", image, log, below]
        recorder = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert recorder.stdout is not None
        if not recorder.stdout.readline():
            raise RuntimeError("the recorder did not come up")
        stack.callback(run, "umount", below)
        device = run("losetup", "--direct-io=on", "--sector-size=4096", "--find", "--show", below / "disk")
        stack.callback(_detach, device, below)
        stack.enter_context(mounted(kind, device, above))
        yield above, below / "marks"


def _detach(device: str, below: Path) -> None:
    """Free a loop device, and wait until it has let go of its file; others may take it at once."""
    run("losetup", "--detach", device)
    while str(below) in run("losetup", "--list", "--noheadings", "--output=BACK-FILE", device):
        time.sleep(0.01)
