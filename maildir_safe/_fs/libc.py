"""System calls that Python's `os` lacks, made through ctypes. Imported on first use: ctypes loads slowly."""

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
    """Start writeback of a file's pages without waiting; see sync_file_range(2).

    This makes nothing durable. The fsync or syncfs that must follow reports the errors.
    """
    _libc.sync_file_range(fd, _ALL, _ALL, _SYNC_FILE_RANGE_WRITE)


def rename_noreplace(src: str, dst: str, src_dir_fd: int, dst_dir_fd: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE: EEXIST if `dst` exists, EINVAL where unsupported."""
    _checked(_libc.renameat2(src_dir_fd, os.fsencode(src), dst_dir_fd, os.fsencode(dst), _RENAME_NOREPLACE))


def set_file_system_ids(uid: int, gid: int) -> None:
    """Set the user and group with which the calling thread, and no other, accesses files.

    The calls are setfsuid(2) and setfsgid(2).

    Raises:
        PermissionError: the kernel did not change them. The two calls themselves report no error.
    """
    if uid:  # set the group while the user is still root; restore in the opposite order
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
    else:
        _libc.setfsuid(uid)
        _libc.setfsgid(gid)
    if _libc.setfsuid(-1) != uid or _libc.setfsgid(-1) != gid:
        raise PermissionError(errno.EPERM, f"cannot use files as uid {uid}, gid {gid}")
