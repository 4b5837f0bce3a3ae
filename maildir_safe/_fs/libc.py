"""Calls that Python's `os` lacks, by ctypes. Imported only when one is made: ctypes is slow to load."""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_ALL = ctypes.c_int64(0)  # from the beginning, to the end


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def syncfs(fd: int) -> None:
    """Make the file system that holds `fd` durable; see syncfs(2).

    A failed write is reported once per open descriptor (Linux 5.8 and later).
    """
    _checked(_libc.syncfs(fd))


def start_writing(fd: int) -> None:
    """Begin to write a file's pages out, and do not wait; see sync_file_range(2).

    Makes nothing durable. Errors are left to the fsync or syncfs that must follow.
    """
    _libc.sync_file_range(fd, _ALL, _ALL, _SYNC_FILE_RANGE_WRITE)


def rename_noreplace(src: str, dst: str, src_dir_fd: int, dst_dir_fd: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE: EEXIST if `dst` exists, EINVAL where unsupported."""
    _checked(_libc.renameat2(src_dir_fd, os.fsencode(src), dst_dir_fd, os.fsencode(dst), _RENAME_NOREPLACE))


def set_file_system_ids(uid: int, gid: int) -> None:
    """setfsuid(2) and setfsgid(2): as whom the calling thread, and no other, opens and makes files.

    Raises:
        PermissionError: the kernel did not do it, which those two calls do not say of themselves.
    """
    if uid:  # the group while the user is still root, and back in the opposite order
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
    else:
        _libc.setfsuid(uid)
        _libc.setfsgid(gid)
    if _libc.setfsuid(-1) != uid or _libc.setfsgid(-1) != gid:
        raise PermissionError(errno.EPERM, f"cannot use files as uid {uid}, gid {gid}")
