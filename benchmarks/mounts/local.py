"""File systems of the kernel without a server: disk images, memory, one over another, a shared directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.stage import Stage


def _disk(fstype: str, *mkfs: str, options: str = "loop") -> Callable[[Stage], list[Path]]:
    def start(stage: Stage) -> list[Path]:
        image, point = stage.image(*mkfs), stage.folder("A")
        stage.run("mount", "-t", fstype, "-o", options, image, point)
        return [point]

    return start


_journal = _disk("ext4", "mkfs.ext4", "-q", options="loop,data=journal")


def _tmpfs(stage: Stage) -> list[Path]:
    point = stage.folder("A")
    stage.run("mount", "-t", "tmpfs", "-o", f"size={stage.size}m", "tmpfs", point)
    return [point]


def _overlay(stage: Stage) -> list[Path]:
    """The upper layer lies on a tmpfs: in a container, / is often an overlay, which cannot be one itself."""
    layers = stage.folder("layers")
    stage.run("mount", "-t", "tmpfs", "-o", f"size={stage.size}m", "tmpfs", layers)
    lower, upper, work = (stage.folder(f"layers/{name}") for name in ("lower", "upper", "work"))
    point = stage.folder("A")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    stage.run("mount", "-t", "overlay", "-o", options, "overlay", point)
    return [point]


def _9p(stage: Stage) -> list[Path]:
    """A directory of the host that QEMU shares twice."""
    options = "trans=virtio,version=9p2000.L,msize=512000"
    for name in ("A", "B"):
        stage.run("mount", "-t", "9p", "-o", options, f"shared{name}", stage.folder(name))
    return [stage.base / "A", stage.base / "B"]


_REISER = ("mkreiserfs", "-q", "-ff")  # twice: it takes a file for a disk

KINDS = (
    Kind("ext4", "ext4 on a disk image", ("e2fsprogs",), _disk("ext4", "mkfs.ext4", "-q"), "ext4"),
    Kind("ext4-journal", "ext4 that also journals data", ("e2fsprogs",), _journal, "ext4"),
    Kind("ext3", "ext3 on a disk image", ("e2fsprogs",), _disk("ext3", "mkfs.ext3", "-q"), "ext3"),
    Kind("ext2", "ext2 on a disk image", ("e2fsprogs",), _disk("ext2", "mkfs.ext2", "-q"), "ext2"),
    Kind("xfs", "XFS on a disk image", ("xfsprogs",), _disk("xfs", "mkfs.xfs", "-q"), "xfs"),
    Kind("btrfs", "Btrfs on a disk image", ("btrfs-progs",), _disk("btrfs", "mkfs.btrfs", "-q"), "btrfs"),
    Kind("reiserfs", "ReiserFS on a disk image", ("reiserfsprogs",), _disk("reiserfs", *_REISER), "reiserfs"),
    Kind("jfs", "JFS on a disk image", ("jfsutils",), _disk("jfs", "mkfs.jfs", "-q"), "jfs"),
    Kind("f2fs", "F2FS on a disk image", ("f2fs-tools",), _disk("f2fs", "mkfs.f2fs", "-q"), "f2fs"),
    Kind("vfat", "FAT on a disk image", ("dosfstools",), _disk("vfat", "mkfs.vfat"), "vfat"),
    Kind("tmpfs", "memory", (), _tmpfs, "tmpfs"),
    Kind("overlay", "overlay, its upper layer in memory", (), _overlay, "overlay"),
    Kind("9p", "9p, a directory shared by QEMU", (), _9p, "9p", guest=True),
)
