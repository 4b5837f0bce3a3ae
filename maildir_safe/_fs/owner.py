"""When running as root, act with the identity and the rights of the directory's owner.

The owner of a Maildir can put links and other directories into it while root works there. Root therefore
works on a Maildir with its owner's identity: the kernel allows what it allows that user and nothing else,
and delivered mail belongs to that user.

* `as_owner` changes the identity for the calls of one `FileSystem`; deliveries use it. The identity of
  the process is not changed: the process may serve many Maildirs, and its own code may lie where those
  users cannot read it.
* `refuse_as_root` is for tools that need not run as root.
* `refuse_to_write_as_root` is for files that an administrator names, outside of mail.
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

# calls for which the kernel checks permissions, or that determine the owner of a new file
_CHECKED = (
    "open_dir", "create", "open", "rename", "rename_noreplace", "link", "unlink", "mkdir", "rmdir", "listdir",
    "stat", "readlink", "chmod", "utime",
)  # fmt: skip
_OTHERS = (
    "read", "reader", "write", "fsync", "syncfs", "start_writing", "close", "fstat", "mount", "time_ns",
    "monotonic", "boottime", "sleep", "random",
)  # fmt: skip


def owner_of(path: str) -> tuple[int, int] | None:
    """Return the owner of a directory, or of the nearest existing one above it.

    Returns:
        User and group id; None if no change of identity is needed: this process is not root, or root
        owns the directory.

    Raises:
        PermissionError: another user can redirect this path: with a symbolic link that belongs neither
            to root nor to the owner, or because root's directory lies in a directory of that user.
        OSError: the path cannot be examined.
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
    """Yield a path and all directories above it, except the root."""
    while path != os.path.dirname(path):
        yield path
        path = os.path.dirname(path)


def refuse_as_root(path: str) -> None:
    """Raise PermissionError if this process is root and another user owns the directory.

    Raises:
        PermissionError, OSError: also as `owner_of`.
    """
    owner = owner_of(path)
    if owner is not None:
        raise PermissionError(errno.EPERM, f"it belongs to uid {owner[0]}: run this as that user", path)


def refuse_to_write_as_root(path: str) -> None:
    """Raise PermissionError if this is root and another user decides where a write to a file would go.

    That is a directory or a symbolic link, on the way as given or as resolved, that is not root's. The file
    itself may belong to anybody.
    """
    if os.geteuid() != 0:
        return
    resolved = os.path.realpath(path)
    given = os.path.abspath(path)
    for part in (*_parts(given), *_parts(os.path.dirname(resolved))):
        try:
            found = os.lstat(part)
        except FileNotFoundError:
            continue
        if found.st_uid != 0 and (part != given or stat.S_ISLNK(found.st_mode)):
            raise PermissionError(errno.EPERM, f"uid {found.st_uid} can lead root elsewhere here", part)


def give_socket(path: str, group: int) -> None:
    """Give a socket that this process has just made to a group, but nothing that was put in its place.

    Args:
        path: where the socket was made.
        group: the group's number.

    Raises:
        OSError: something else is there, or the group is not permitted.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
            raise OSError(errno.EPERM, "something else was put in the socket's place", path)
        os.chown(f"/proc/self/fd/{fd}", -1, group)  # fchown(2) refuses a descriptor of O_PATH
    finally:
        os.close(fd)


def as_owner(fs: FileSystem, path: str) -> FileSystem:
    """Return `fs`; if this process is root, its calls are made as the owner of a directory.

    Each call sets the file-system user id of the calling thread (setfsuid(2)) and then restores it. The
    user's supplementary groups are not used, nor are root's.

    Raises:
        OSError: as `owner_of`.
    """
    owner = owner_of(path)
    return fs if owner is None else _OwnersFileSystem(fs, *owner)  # type: ignore[return-value]


class _OwnersFileSystem:
    """The calls of another `FileSystem`, made as a given user."""

    def __init__(self, fs: FileSystem, uid: int, gid: int) -> None:
        from maildir_safe._fs import libc

        # what only root's groups may read is not for that user; mostly a service has no groups
        groups = os.getgroups() or None
        none = () if groups else None

        def owned(call: Callable[..., Any]) -> Callable[..., Any]:
            def as_that_user(*args: Any, **named: Any) -> Any:
                libc.set_file_system_ids(uid, gid, none)
                try:
                    return call(*args, **named)
                finally:
                    libc.set_file_system_ids(0, 0, groups)

            return as_that_user

        self.owner = uid, gid
        for name in _OTHERS:
            setattr(self, name, getattr(fs, name))
        for name in _CHECKED:
            setattr(self, name, owned(getattr(fs, name)))
