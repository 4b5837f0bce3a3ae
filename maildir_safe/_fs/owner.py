"""Whose directory it is, for a process that runs as root: mail is the owner's, and so are the powers.

A user who owns a Maildir can put links and other directories into it while root works there. What root
does to it is therefore done as its owner, whom the kernel then allows what it allows that user, and
nothing else; and what is delivered belongs to that user.

* `as_owner`: the calls of one `FileSystem`, for whatever delivers. Not the whole process: it may serve
  many Maildirs, and its own code may lie where those users cannot read it.
* `refuse_as_root`: for tools that nobody needs to run as root.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from maildir_safe._fs import FileSystem

# those that the kernel checks permissions of, or that decide whose a new file is
_CHECKED = (
    "open_dir", "create", "open", "rename", "rename_noreplace", "link", "unlink", "mkdir", "rmdir", "listdir",
    "stat", "readlink", "chmod", "utime",
)  # fmt: skip
_OTHERS = (
    "read", "reader", "write", "fsync", "syncfs", "start_writing", "close", "fstat", "mount", "time_ns",
    "monotonic", "boottime", "sleep", "random",
)  # fmt: skip


def owner_of(path: str) -> tuple[int, int] | None:
    """Who owns a directory, or what is above it if it is still to be made.

    Returns:
        User and group id; None if there is nobody to become: this process is not root, or it is root's.

    Raises:
        PermissionError: somebody else can lead this path elsewhere: by a symbolic link that is neither
            root's nor the owner's, or by a directory of theirs in which root's lies.
        OSError: it cannot be looked at.
    """
    if os.geteuid() != 0:
        return None
    path = os.path.abspath(path)
    there = path
    while True:
        try:
            owner = os.stat(there)
            break
        except FileNotFoundError:
            there = os.path.dirname(there)
    for part in (*_parts(there), *_parts(os.path.realpath(there))):
        found = os.lstat(part)
        if found.st_uid in (0, owner.st_uid):
            continue
        if stat.S_ISLNK(found.st_mode) or owner.st_uid == 0:
            text = f"uid {found.st_uid} can lead root elsewhere here; the directory is uid {owner.st_uid}'s"
            raise PermissionError(errno.EPERM, text, part)
    return None if owner.st_uid == 0 else (owner.st_uid, owner.st_gid)


def _parts(path: str) -> Iterator[str]:
    """A path and all above it, but the root."""
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


def refuse_as_root(path: str) -> None:
    """Raise PermissionError if this process is root and the directory another's. Raises as `owner_of`."""
    owner = owner_of(path)
    if owner is not None:
        raise PermissionError(errno.EPERM, f"it belongs to uid {owner[0]}: run this as that user", path)


def as_owner(fs: FileSystem, path: str) -> FileSystem:
    """`fs`, but with its calls made as the owner of a directory, if this process is root.

    Each call sets the file system user id of the thread that makes it (setfsuid(2)), and sets it back.

    Raises:
        OSError: as `owner_of`.
    """
    owner = owner_of(path)
    return fs if owner is None else _OwnersFileSystem(fs, *owner)  # type: ignore[return-value]


class _OwnersFileSystem:
    """The calls of another `FileSystem`, made as a user."""

    def __init__(self, fs: FileSystem, uid: int, gid: int) -> None:
        from maildir_safe._fs import libc

        def owned(call: Callable[..., Any]) -> Callable[..., Any]:
            def as_that_user(*args: Any, **named: Any) -> Any:
                libc.set_file_system_ids(uid, gid)
                try:
                    return call(*args, **named)
                finally:
                    libc.set_file_system_ids(0, 0)

            return as_that_user

        self.owner = uid, gid
        for name in _OTHERS:
            setattr(self, name, getattr(fs, name))
        for name in _CHECKED:
            setattr(self, name, owned(getattr(fs, name)))
