"""Removes seals that a late rename has moved away from the name that they occupy.

A seal is an empty directory in tmp/ (`late_calls.seal`). If the server checks permissions, or root
renames, a rename that is executed late may move the seal to the place of a message or an item that a
reader or a worker has already moved on. The seal is neither a message nor an item, and is removed there.
"""

from __future__ import annotations

import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem


def holds_directory(fs: FileSystem, dir_fd: int) -> bool:
    """Report whether a directory may contain directories, by its link count: one call.

    False also if the file system does not count them. Raises OSError.
    """
    return fs.fstat(dir_fd).st_nlink > 2


def is_seal(fs: FileSystem, dir_fd: int, name: str) -> bool:
    """Report whether a name that a listing shows is a directory, and so no message. Raises OSError.

    False if the look-up says that the name is not there: that may be an answer from a client's cache.
    """
    try:
        return stat.S_ISDIR(fs.stat(name, dir_fd).st_mode)
    except FileNotFoundError:
        return False


def remove_seal(fs: FileSystem, dir_fd: int, name: str) -> bool:
    """Report whether a name is a directory, and remove an empty one. False if it cannot be examined."""
    try:
        if not stat.S_ISDIR(fs.stat(name, dir_fd).st_mode):
            return False
    except OSError:
        return False
    try:
        fs.rmdir(name, dir_fd)
    except OSError:
        pass  # it is not empty, and so is not a seal; or it is already gone
    return True


def without_seals(fs: FileSystem, dir_fd: int, names: list[str]) -> list[str]:
    """Return the names that are not directories; empty directories are removed. Raises OSError."""
    if not names or not holds_directory(fs, dir_fd):
        return names
    return [name for name in names if not remove_seal(fs, dir_fd, name)]
