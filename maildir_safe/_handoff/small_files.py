"""Small files and directories, created completely or not at all; used by several packages.

This module also has the one loop for short writes and the one way to read the file server's clock.
"""

from __future__ import annotations

import errno

from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._handoff.rename import close_quietly, remove_quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_ATTEMPTS = 3
_FULL = {errno.ENOSPC, errno.EDQUOT}  # a full disk is when cleaning is needed most

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def write_all(fs: FileSystem, fd: int, data: bytes | memoryview, done: int = 0) -> None:
    """Write the rest of `data`, of which `done` bytes are written already.

    A write may be short because of a signal, a quota or a pipe; it is then continued.

    Raises:
        OSError: some of the data may have been written.
    """
    while done < len(data):
        done += fs.write(fd, memoryview(data)[done:])


def fsync_if_supported(fs: FileSystem, fd: int) -> bool:
    """Fsync a file or directory; return False if the mount does not support that.

    Raises:
        OSError: the fsync failed.
    """
    try:
        fs.fsync(fd)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def publish_small_file(fs: FileSystem, dir_fd: int, name: str, data: bytes, mode: int | None = None) -> None:
    """Put a small file in place, complete and durable; a file with that name is replaced.

    The file is written under a temporary name that is used once, fsynced and renamed. Then the directory
    is fsynced.

    Args:
        dir_fd: the directory, by descriptor; the caller still owns it.
        mode: permissions, if the mount stores any; None: 0600.

    Raises:
        OSError: the file may or may not be in place, and may not be durable. The temporary file is removed
            if possible.
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
        except FileNotFoundError:  # nobody else moves it: it was done, and the reply was lost
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
        pass  # some mounts set the mode themselves


def make_directory(fs: FileSystem, name: str, dir_fd: int) -> int:
    """Make a directory in `dir_fd` if it is missing, and open it; the caller owns the descriptor.

    EEXIST from mkdir proves nothing: NFS reports it when its first reply was lost, and a faulty server
    may report it for a directory that does not exist. Only opening it proves that it exists.

    Raises:
        OSError: it can be neither made nor opened.
    """
    for left in reversed(range(_ATTEMPTS)):
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
    """Return the file server's time in seconds since 1970: the modification time of a new file.

    This host's clock is never used, since it may be hours off; nor is a time of last access.

    Raises:
        OSError: no file can be made there.
    """
    name = ".clock." + fs.random(8).hex()
    fd = fs.create(name, dir_fd)
    try:
        try:
            fs.write(fd, b"\n")  # some servers set the time only when the file is written
        except OSError as error:
            if error.errno not in _FULL:
                raise
        finally:
            close_quietly(fs, fd)
        return fs.stat(name, dir_fd).st_mtime
    finally:
        remove_quietly(fs, dir_fd, name)


def server_time_to_look(fs: FileSystem, dir_fd: int) -> float:
    """Return `server_time`, or on a mount that takes no file this host's clock, which may be hours off.

    Only for code that reads: it can then check a read-only mount too. Code that removes files must not
    use it.

    Raises:
        OSError: no file can be made there, for another reason than a read-only mount.
    """
    try:
        return server_time(fs, dir_fd)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        return fs.time_ns() / 1e9
