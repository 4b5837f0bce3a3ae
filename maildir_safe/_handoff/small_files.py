"""Small files and directories, made whole: what the janitor, a probe, a Maildir and a spool need alike.

Also the one loop for short writes, and the one way to read the file server's clock.
"""

from __future__ import annotations

import errno

from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._handoff.rename import close_quietly, remove_quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_TRIES = 3
_FULL = {errno.ENOSPC, errno.EDQUOT}  # which is when cleaning is wanted most

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def write_all(fs: FileSystem, fd: int, data: bytes | memoryview, done: int = 0) -> None:
    """Write all of `data`, of which `done` bytes are written. Signals, quotas and pipes write less.

    Raises:
        OSError: some of it may have been written.
    """
    while done < len(data):
        done += fs.write(fd, memoryview(data)[done:])


def fsync_if_supported(fs: FileSystem, fd: int) -> bool:
    """Fsync a file or directory; False where the mount has no fsync. Raises OSError: it failed."""
    try:
        fs.fsync(fd)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def publish_small_file(fs: FileSystem, dir_fd: int, name: str, data: bytes, mode: int | None = None) -> None:
    """Put a small file in place, whole and durable; what has that name is replaced.

    It is made aside under a name that is used once, fsynced, renamed, and the directory fsynced.

    Args:
        dir_fd: the directory, by descriptor; it stays the caller's.
        mode: permissions, where the mount keeps any; None: 0600.

    Raises:
        OSError: it may be in place or not, perhaps not durable; nothing is left aside that could be removed.
    """
    aside = f".{name}.{fs.random(8).hex()}"
    try:
        fd = fs.create(aside, dir_fd)
        try:
            write_all(fs, fd, data)
            if mode is not None:
                _change_mode(fs, fd, mode)
            fsync_if_supported(fs, fd)
        finally:
            fs.close(fd)
        try:
            fs.rename(aside, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        except FileNotFoundError:  # nobody else moves it: done, and the reply was lost
            if name not in fs.listdir(dir_fd):
                raise
    except OSError:
        remove_quietly(fs, dir_fd, aside)
        raise
    fsync_if_supported(fs, dir_fd)


def _change_mode(fs: FileSystem, fd: int, mode: int) -> None:
    try:
        fs.chmod(fd, mode)
    except OSError:
        pass  # such mounts decide themselves


def make_directory(fs: FileSystem, name: str, dir_fd: int) -> int:
    """Make a directory in `dir_fd`, unless it is there, and open it; the descriptor is the caller's.

    EEXIST from mkdir proves nothing: NFS says so when its first reply was lost, and a server that is
    in trouble may say so of what is not there. That it can be opened is the proof.

    Raises:
        OSError: it can be neither made nor opened.
    """
    for left in reversed(range(_TRIES)):
        try:
            fs.mkdir(name, dir_fd)
        except FileExistsError:
            pass  # made by another, or by us
        try:
            return fs.open_dir(name, dir_fd)
        except FileNotFoundError:
            if not left:
                raise
    raise AssertionError  # not reached


def server_time(fs: FileSystem, dir_fd: int) -> float:
    """What time the file server says it is, in seconds since 1970: the date of a file made just now.

    Never this host's clock, which may be hours off, nor a time of last access.

    Raises:
        OSError: no file can be made there.
    """
    name = ".clock." + fs.random(8).hex()
    fd = fs.create(name, dir_fd)
    try:
        try:
            fs.write(fd, b"\n")  # some servers date a file only when it is written
        except OSError as error:
            if error.errno not in _FULL:
                raise
        finally:
            close_quietly(fs, fd)
        return fs.stat(name, dir_fd).st_mtime
    finally:
        remove_quietly(fs, dir_fd, name)


def server_time_to_look(fs: FileSystem, dir_fd: int) -> float:
    """`server_time`; on a mount that takes no file, this host's clock, which may be hours off.

    For those who only look: a read-only mount can be checked too. What removes files must not use it.
    Raises OSError as `server_time`, for other reasons.
    """
    try:
        return server_time(fs, dir_fd)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        return fs.time_ns() / 1e9
