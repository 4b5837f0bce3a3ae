"""Removing a directory and its contents, in a place where others may exchange entries concurrently."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly

if TYPE_CHECKING:
    import os

    from maildir_safe._fs import FileSystem

_DEEPEST = 16
_IS_DIRECTORY = {errno.EISDIR, errno.EPERM}  # errors of unlink for a directory: Linux, POSIX


def remove_tree(fs: FileSystem, name: str, above: int, deepest: int = _DEEPEST) -> None:
    """Remove a directory and its contents.

    The directory is opened by name without following links, and only if it lies on the same file system
    as its parent. Before it is removed, its device and inode are compared again: a directory that was put
    in its place is not removed.

    Args:
        above: the parent directory, by descriptor.
        deepest: the number of directory levels that are entered.

    Raises:
        OSError: something could not be removed, was exchanged, or lies deeper; the rest may be removed.
    """
    fd = fs.open_dir(name, above)
    try:
        entered = fs.fstat(fd)
        if not deepest or entered.st_dev != fs.fstat(above).st_dev:
            raise OSError(errno.EXDEV if deepest else errno.ELOOP, "not entered, and not removed", name)
        for entry in fs.listdir(fd):
            try:
                fs.unlink(entry, dir_fd=fd)
            except OSError as error:
                if error.errno not in _IS_DIRECTORY:
                    raise
                remove_tree(fs, entry, fd, deepest - 1)
    finally:
        close_quietly(fs, fd)
    if not _same(fs.stat(name, above), entered):
        raise OSError(errno.ESTALE, "exchanged for another, which is not removed", name)
    fs.rmdir(name, above)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
