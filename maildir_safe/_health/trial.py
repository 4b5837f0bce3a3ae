"""The trial of a directory: put, rename, sync and remove a file, as a delivery does."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from maildir_safe._fs.owner import as_owner
from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._names import UniqueNames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maildir_safe._fs import FileSystem

MARK = "tried"
"""The host part of a trial's file names. The janitor removes a file that a killed process left in tmp/."""

_BYTES = b"\0" * 8192  # more than a file system keeps in an inode: a full disk must be noticed
_OF_ONE_MAILBOX = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EDQUOT)


def store_file(fs: FileSystem, directory: str) -> None:
    """Put, rename, sync and remove a file in `directory`.

    Args:
        fs: the file system's calls.
        directory: an existing directory in which nobody minds a file for a moment: a tmp/.

    Raises:
        OSError: the first call that failed. The file is removed if that is possible.
    """
    first, second = UniqueNames(fs, os.getpid(), MARK).new(["", ""])
    above = fs.open_dir(directory)
    try:
        try:
            _write(fs, first, above)
            fs.rename(first, second, src_dir_fd=above, dst_dir_fd=above)
            _sync(fs, above)
            fs.unlink(second, dir_fd=above)
        except OSError:
            for name in (first, second):  # a call that failed may have been executed
                with contextlib.suppress(OSError):
                    fs.unlink(name, dir_fd=above)
            raise
    finally:
        fs.close(above)


def _write(fs: FileSystem, name: str, above: int) -> None:
    fd = fs.create(name, above)
    try:
        left = memoryview(_BYTES)
        while left:
            left = left[fs.write(fd, left) :]
        fs.fsync(fd)
    finally:
        fs.close(fd)


def _sync(fs: FileSystem, directory: int) -> None:
    try:
        fs.fsync(directory)
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # a delivery does without it too
            raise


def store_file_in(fs: FileSystem, store: str) -> None:
    """As `store_file`, in the tmp/ of a Maildir or of a spool. Root acts as its owner.

    Raises:
        OSError: as `store_file`.
    """
    store_file(as_owner(fs, store), f"{store}/tmp")


def look_and_store(fs: FileSystem, above: str, maildirs: Iterable[str]) -> None:
    """List the directory above many Maildirs, and store a file in some of them.

    No file is put into `above`: that would change its time, and its listing would never count as
    settled. A mailbox that was removed, is over its quota or denies access is its owner's trouble.

    Args:
        fs: the file system's calls.
        above: the directory below which all Maildirs are.
        maildirs: Maildirs that were used lately.

    Raises:
        OSError: as `store_file`.
    """
    fd = fs.open_dir(above)
    try:
        fs.listdir(fd)
    finally:
        fs.close(fd)
    for maildir in maildirs:
        try:
            store_file_in(fs, maildir)
        except OSError as error:
            if error.errno not in _OF_ONE_MAILBOX:
                raise
