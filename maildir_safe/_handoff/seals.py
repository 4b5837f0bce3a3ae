"""Seals that a late rename has carried away from the name that they were to keep.

A seal is an empty directory in tmp/ (`late_calls.seal`). Where it is the server that checks permissions,
or root that renames, a rename that is executed late may move it to where a message or an item is
expected, once a reader or a worker has moved that on. It is neither: it is removed where it is found.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem


def holds_directory(fs: FileSystem, dir_fd: int) -> bool:
    """Whether a directory may hold others, by its link count: one call.

    False also where a file system does not count them. Raises OSError.
    """
    return fs.fstat(dir_fd).st_nlink > 2


def remove_seal(fs: FileSystem, dir_fd: int, name: str) -> bool:
    """Whether this name is a directory; an empty one is removed. False if it cannot be looked at."""
    try:
        if not stat.S_ISDIR(fs.stat(name, dir_fd).st_mode):
            return False
    except OSError:
        return False
    try:
        fs.rmdir(name, dir_fd)
    except OSError:
        pass  # it holds something, and is no seal; or it went by itself
    return True


def without_seals(fs: FileSystem, dir_fd: int, names: list[str]) -> list[str]:
    """These names of a directory but for those that are directories; see `remove_seal`. Raises OSError."""
    if not names or not holds_directory(fs, dir_fd):
        return names
    return [name for name in names if not remove_seal(fs, dir_fd, name)]
