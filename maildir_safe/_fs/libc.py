"""Three calls that Python's `os` lacks, by ctypes. Imported only when one is made: ctypes is slow to load."""

from __future__ import annotations

import ctypes
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
