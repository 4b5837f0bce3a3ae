"""What an administrator's commands do to files outside of mail: directories for users, and files replaced."""

from __future__ import annotations

import errno
import os
import secrets
import stat


def make_directory_for(path: str, uid: int, gid: int) -> None:
    """Make a directory, mode 0700, that belongs to a user, and make it durable. Only root can do this.

    A directory that belongs to the user already stays as it is. An empty one of root's is given to the
    user: an earlier call may have been killed before that.

    Raises:
        PermissionError: the directory belongs to somebody else, or is root's and not empty.
        OSError: it cannot be made.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        owner = os.fstat(fd).st_uid
        if owner != uid:
            if owner != 0 or os.listdir(fd):
                raise PermissionError(errno.EPERM, f"it belongs to uid {owner}", path)
            os.fchown(fd, uid, gid)
            os.fsync(fd)
    finally:
        os.close(fd)
    _sync(os.path.dirname(os.path.abspath(path)))


def replace_file(path: str, data: bytes) -> None:
    """Replace a file's content at once and durably. Its owner, group and mode stay; a new one has 0600.

    Raises:
        OSError: the file is as it was, or, if the last sync failed, perhaps replaced.
    """
    path = os.path.realpath(path)
    aside = f"{path}.{secrets.token_hex(8)}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            _copy_rights(path, fd)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
    _sync(os.path.dirname(path))


def _copy_rights(path: str, fd: int) -> None:
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return
    new = os.fstat(fd)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, stat.S_IMODE(old.st_mode))


def _sync(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
