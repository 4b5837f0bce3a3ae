"""Recognises Coda conflicts, which appear as dangling links to ``@volume.vnode.uniquifier``."""

from __future__ import annotations

import errno
import os

from maildir_safe._handoff.rename import close_quietly
from maildir_safe.errors import TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem


FIRST_ANSWERS = (errno.ELOOP, errno.ENOTDIR)
"""What Coda answers right after a conflict, before it shows the link."""


def link_target(fs: FileSystem, name: str, dir_fd: int) -> str:
    """Return the target of a symbolic link; ``""`` if the name is not a link. Never raises."""
    try:
        return fs.readlink(name, dir_fd)
    except OSError:
        return ""


def in_conflict(fs: FileSystem, name: str, dir_fd: int) -> str:
    """Return the link's target if the name is in conflict, else ``""``. Never raises."""
    target = link_target(fs, name, dir_fd)
    return target if target.startswith("@") else ""


def unusable(fs: FileSystem, path: str, dir_fd: int, error: OSError) -> TemporaryError:
    """Return the error for a `path` that cannot be used; it names a conflict if there is one.

    Args:
        path: the path, for the error message.
        dir_fd: its directory, by descriptor.
        error: the error of the call that failed.
    """
    target = in_conflict(fs, path.rpartition("/")[2], dir_fd)
    return TemporaryError(_words(path, target)) if target else storage_error(path, error)


def conflict_at(fs: FileSystem, path: str) -> str:
    """Return the text for people if a path is in conflict, else ``""``. Never raises."""
    parent, name = os.path.split(os.path.abspath(path))
    try:
        above = fs.open_dir(parent)
    except OSError:
        return ""
    try:
        target = in_conflict(fs, name, above)
    finally:
        close_quietly(fs, above)
    return _words(path, target) if target else ""


def _words(path: str, target: str) -> str:
    return f"{path} is in conflict (a link to {target}); repair it with the file system's tools"
