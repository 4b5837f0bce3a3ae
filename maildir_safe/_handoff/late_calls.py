"""Protects a published file from calls that are executed late, after an ambiguous reply.

A file server may execute a request after the client has given up on it. Two late calls together can
destroy a published message:

1. The kernel repeats a create after ESTALE, and CPython repeats it after EINTR, with the same name and
   without the caller's knowledge. If the first create is executed after the rename of the file, it
   makes an empty file under the old name.
2. If the reply of that rename was ambiguous, the rename may be executed a second time. It then replaces
   the published file with the empty one.

So after an ambiguous rename of a file that this process has created, `seal` makes an empty directory
under the source name, as a tombstone. A late create fails on a directory, and a late rename cannot
replace a file with a directory.

This module also removes second names. rename() of one name of a file onto another name of the same file
succeeds and does nothing (POSIX), and GlusterFS's healing can leave such names. The destination is then
in place, and the source name must be removed.
"""

from __future__ import annotations

import errno

from maildir_safe._handoff.group_commit import UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from maildir_safe._fs import FileSystem

_ATTEMPTS = 3
_PAUSES = (0.01, 0.1, 1.0)  # seconds
_READ_ONLY = 0o500  # to move a directory elsewhere takes write permission on it, if the server checks that
_NO_DIRECTORY = {errno.ENOTDIR, errno.ELOOP}


def seal(fs: FileSystem, dir_fd: int, name: str) -> bool:
    """Occupy a name with an empty directory, so that no file can have it again.

    A file that has the name is removed. The janitor later removes the empty directory.

    Args:
        dir_fd: the directory; nobody else uses the name in it.

    Returns:
        False if the name could not be sealed.
    """
    for _ in range(_ATTEMPTS):
        try:
            fs.mkdir(name, dir_fd)
        except FileExistsError:
            pass  # left by an earlier attempt, or a file, or a spurious EEXIST
        except OSError:
            return False
        try:
            fd = fs.open_dir(name, dir_fd)
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                remove_quietly(fs, dir_fd, name)
            elif error.errno != errno.ENOENT:
                return False
            continue
        try:
            fs.chmod(fd, _READ_ONLY)
        except OSError:
            pass
        close_quietly(fs, fd)
        return True
    return False


def status_of(fs: FileSystem, dir_fd: int, name: str) -> os.stat_result | None:
    """Return a file's status, or None if it is absent. It is opened, since look-ups may be stale.

    Raises:
        OSError: it cannot be opened or examined.
    """
    try:
        fd = fs.open(name, dir_fd)
    except FileNotFoundError:
        return None
    try:
        return fs.fstat(fd)
    finally:
        close_quietly(fs, fd)


def same_bytes(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """Report whether two files both exist and have the same contents; False if that cannot be read."""
    try:
        return _compare(fs, src_dir, src, dst_dir, dst)
    except OSError:
        return False


def _compare(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """Report whether two files have the same contents. Raises OSError: one of them cannot be read."""
    opened: list[int] = []
    try:
        opened += [fs.open(src, src_dir)]
        opened += [fs.open(dst, dst_dir)]
        while True:
            ours, theirs = (fs.read(fd, 1 << 16) for fd in opened)
            if ours != theirs or not ours:
                return ours == theirs
    finally:
        for fd in opened:
            close_quietly(fs, fd)


def same_file(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """Report whether two names lead to one file; False if that cannot be found out."""
    try:
        one, other = fs.stat(src, src_dir), fs.stat(dst, dst_dir)
    except OSError:
        return False
    return one.st_nlink > 1 and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def remove_second_name(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """After a rename that reported success: remove the source if it is still a name of the same file.

    In the normal case this costs one look-up.

    Returns:
        False if the storage does not answer: the second name may still exist.
    """
    for pause in _PAUSES:
        try:
            fs.stat(src, src_dir)
            if _compare(fs, src_dir, src, dst_dir, dst):
                fs.unlink(src, dir_fd=src_dir)
                fs.fsync(src_dir)  # otherwise a crash restores it
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in UNSUPPORTED:  # of the fsync
                return True
            fs.sleep(pause)
    return False


def remove_quietly(fs: FileSystem, dir_fd: int, name: str) -> None:
    """Remove a file that nobody needs; if that fails, it is left to the janitor."""
    try:
        fs.unlink(name, dir_fd=dir_fd)
    except OSError:
        pass


def close_quietly(fs: FileSystem, fd: int) -> None:
    """Close a descriptor whose errors do not matter: it was only read, or its file is discarded."""
    try:
        fs.close(fd)
    except OSError:
        pass
