"""Removing a directory with all that is in it, in a place where others may exchange things meanwhile."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly

if TYPE_CHECKING:
    import os

    from maildir_safe._fs import FileSystem

_DEEPEST = 16
_IS_DIRECTORY = {errno.EISDIR, errno.EPERM}  # what unlink says of one: Linux, POSIX


def remove_tree(fs: FileSystem, name: str, above: int, deepest: int = _DEEPEST) -> None:
    """Remove a directory and what it holds.

    It is entered by name without following links, only if it lies on the file system of the one above,
    and looked at again by device and inode before it is removed: what has been put in its place stays.

    Args:
        above: the directory that it is in, by descriptor.
        deepest: how many levels of directories are entered.

    Raises:
        OSError: something could not be removed, was exchanged, or lies deeper; the rest may be gone.
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
        raise OSError(errno.ESTALE, "exchanged for another meanwhile, which stays", name)
    fs.rmdir(name, above)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
