"""Checks of the space, inodes and quota left, and of listings."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

from maildir_safe._probe.probe_directory import ProbeDirectory, named, plain, said
from maildir_safe._probe.report import BAD, NOTE, OK, Check

_LOW = 0.05  # the share of space, inodes or quota left that is reported as low
_QUOTACTL_FD = 443  # the same on all architectures
_GET_USER_QUOTA = 0x800007 << 8
_BLOCK = 1024  # the unit of the kernel's limits


class _Quota(ctypes.Structure):
    """The kernel's struct if_dqblk."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("block_hard", "block_soft", "space", "inode_hard")),
        *((name, ctypes.c_uint64) for name in ("inode_soft", "inodes", "block_time", "inode_time")),
        ("valid", ctypes.c_uint32),
    ]


def check_space(room: ProbeDirectory, path: str) -> Iterator[Check]:
    """Check space, inodes and quota left, and whether a listing is complete."""
    space = os.statvfs(path)
    free, share = space.f_bavail * space.f_frsize, space.f_bavail / max(space.f_blocks, 1)
    low = space.f_blocks > 0 and share < _LOW
    remedy = "make room: a full disk defers mail" if low else ""
    yield Check("free-space", NOTE if low else OK, f"{free >> 20} MiB ({share:.0%})", remedy, free)
    if space.f_files:
        share = space.f_favail / space.f_files
        text = f"{space.f_favail} ({share:.0%})"
        yield Check("free-inodes", NOTE if share < _LOW else OK, text, value=space.f_favail)
    yield _quota(room)
    yield from _listing(room)


def room_left(path: str) -> list[float]:
    """Return the shares of a mount's space and inodes that are left; 1: no limit. Raises OSError."""
    space = os.statvfs(path)
    shares = [(space.f_bavail, space.f_blocks), (space.f_favail, space.f_files)]
    return [left / most if most else 1.0 for left, most in shares]


def _quota(room: ProbeDirectory) -> Check:
    """Check our own quota, which the kernel knows for local file systems only."""
    quota = _Quota()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_QUOTACTL_FD, room.root, _GET_USER_QUOTA, os.geteuid(), ctypes.byref(quota)):
        number = ctypes.get_errno()
        text = "none in force" if number == errno.ESRCH else f"cannot be found out: {said(number)}"
        return Check("quota", OK, text, value=named(number))
    limits = ((quota.space, quota.block_hard * _BLOCK), (quota.inodes, quota.inode_hard))
    left = min((1 - used / most for used, most in limits if most), default=1.0)
    low = left < _LOW
    remedy = "raise it: mail is deferred when it is used up" if low else ""
    limit = f"of {quota.block_hard * _BLOCK >> 20} MiB" if quota.block_hard else "no limit of bytes"
    text = f"{quota.space >> 20} MiB used, {limit}; {left:.0%} left"
    return Check("quota", NOTE if low else OK, text, remedy, round(left, 3))


def _listing(room: ProbeDirectory) -> Iterator[Check]:
    """Check whether a listing shows a new name, and whether it gives types, so that no stat is needed."""
    name = room.put(room.b)
    fresh = room.fs.open_dir(
        ".", room.b
    )  # on btrfs a descriptor shows only the entries present when it was opened
    try:
        with os.scandir(fresh) as entries:
            found = {entry.name: entry for entry in entries}
        room.fs.unlink(name, dir_fd=room.b)  # so that a look-up of its type would fail with ENOENT
        typed = name in found and found[name].is_file(follow_symlinks=False)
    finally:
        room.fs.close(fresh)
    good = name in found
    yield Check("listing", OK if good else BAD, f"shows a new name: {plain(good)}", value=good)
    text = "a listing tells files from directories" if typed else "a listing does not tell them; not needed"
    yield Check("d-type", OK if typed else NOTE, text, value=typed)
