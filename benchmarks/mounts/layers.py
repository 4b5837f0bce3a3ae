"""FUSE layers over a directory or a disk image of this machine."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.stage import Stage


def _exfat(stage: Stage) -> list[Path]:
    """On a loop device: as a "blkdev" file system it refuses a plain file."""
    image, point = stage.image("mkfs.exfat"), stage.folder("A")
    device = stage.run("losetup", "--find", "--show", image).strip()
    stage.run("mount.exfat-fuse", device, point)
    return [stage.mounted(point)]


def _fusefat(stage: Stage) -> list[Path]:
    image, point = stage.image("mkfs.vfat"), stage.folder("A")
    stage.run("fusefat", "-o", "rw+", image, point)
    return [stage.mounted(point)]


def _encfs(stage: Stage) -> list[Path]:
    """The paranoia mode ties a file's contents to its path, so it has no hard links."""
    point = stage.folder("A")
    stage.run("encfs", "-S", "--paranoia", stage.folder("cipher"), point, stdin="p\nsecret\n")
    return [stage.mounted(point)]


def _gocryptfs(stage: Stage) -> list[Path]:
    cipher, point = stage.folder("cipher"), stage.folder("A")
    secret = stage.write("secret", "secret\n", 0o600)
    stage.run("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", secret, cipher)
    stage.run("gocryptfs", "-q", "-passfile", secret, cipher, point)
    return [stage.mounted(point)]


def _mergerfs(stage: Stage) -> list[Path]:
    """Two branches; a directory is made on either when it is needed there."""
    return _merge(stage, "category.create=mfs")


def _mergerfs_split(stage: Stage) -> list[Path]:
    """Two branches that hold one directory each of `split/`; between these link and rename are EXDEV."""
    stage.folder("branch1/split/tmp"), stage.folder("branch2/split/new"), stage.folder("branch2/split/cur")
    return _merge(stage, "category.create=epmfs,ignorepponrename=false")


def _merge(stage: Stage, options: str) -> list[Path]:
    point = stage.folder("A")
    branches = f"{stage.folder('branch1')}:{stage.folder('branch2')}"
    stage.run("mergerfs", "-o", options, branches, point)
    return [stage.mounted(point)]


KINDS = (
    Kind("exfat", "exfat-fuse on a disk image", ("exfat-fuse", "exfatprogs"), _exfat, "fuseblk"),
    Kind("fusefat", "FAT in user space on a disk image", ("fusefat", "dosfstools"), _fusefat),
    Kind("encfs-paranoia", "EncFS without hard links", ("encfs",), _encfs),
    Kind("gocryptfs", "gocryptfs", ("gocryptfs",), _gocryptfs),
    Kind("mergerfs", "mergerfs over two directories", ("mergerfs",), _mergerfs),
    Kind("mergerfs-split", "mergerfs, tmp/ and new/ on different branches", ("mergerfs",), _mergerfs_split),
)
