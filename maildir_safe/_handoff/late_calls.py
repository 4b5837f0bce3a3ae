"""What may still come after an ambiguous reply, and how a published file is kept safe from it.

The kernel makes a create again after ESTALE, and CPython after EINTR, under the same name, before
anybody hears of it. Where the first is executed late, it makes an empty file under a name that was
renamed away; and where that rename had an ambiguous reply too, a late execution of it puts the empty
file in the place of the published one. So after an ambiguous rename of a file that this process has
created, its name is sealed: a directory takes it, which no late create can open, and which no late
rename can put in the place of a file.

rename() of one name of a file onto another name of the same file succeeds and does nothing (POSIX).
GlusterFS's healing can leave such second names. What was to be moved is there; the name that was to
be left is removed.
"""

from __future__ import annotations

import errno

from maildir_safe._handoff.group_commit import UNSUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_TRIES = 3
_PAUSES = (0.01, 0.1, 1.0)  # seconds
_READ_ONLY = 0o500  # moving a directory elsewhere takes write permission on it, as far as servers check it
_NO_DIRECTORY = {errno.ENOTDIR, errno.ELOOP}


def seal(fs: FileSystem, dir_fd: int, name: str) -> bool:
    """Take a name, so that no file can have it again; what has it is removed.

    The janitor removes the empty directory that this leaves.

    Args:
        dir_fd: the directory, in which nobody else uses that name.

    Returns:
        False if it could not be done.
    """
    for _ in range(_TRIES):
        try:
            fs.mkdir(name, dir_fd)
        except FileExistsError:
            pass  # the directory of an earlier try, or a file, or it is not true
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


def size_of(fs: FileSystem, dir_fd: int, name: str) -> int | None:
    """A file's size in bytes, or None if it is not there: opened, since look-ups may be old.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        fd = fs.open(name, dir_fd)
    except FileNotFoundError:
        return None
    try:
        return fs.fstat(fd).st_size
    finally:
        close_quietly(fs, fd)


def same_bytes(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """Whether two files are there, can be read, and hold the same."""
    try:
        return _compare(fs, src_dir, src, dst_dir, dst)
    except OSError:
        return False


def _compare(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """Whether two files hold the same. Raises OSError: one of them cannot be read."""
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


def remove_second_name(fs: FileSystem, src_dir: int, src: str, dst_dir: int, dst: str) -> bool:
    """After a rename that reported success: remove the source if it is still a name of the same file.

    One look-up, where nothing is amiss.

    Returns:
        False if the storage does not answer: the second name may still be there.
    """
    for pause in _PAUSES:
        try:
            fs.stat(src, src_dir)
            if _compare(fs, src_dir, src, dst_dir, dst):
                fs.unlink(src, dir_fd=src_dir)
                fs.fsync(src_dir)  # otherwise a crash brings it back
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in UNSUPPORTED:  # of the fsync
                return True
            fs.sleep(pause)
    return False


def remove_quietly(fs: FileSystem, dir_fd: int, name: str) -> None:
    """Remove a file that matters to nobody; what cannot be removed is left to the janitor."""
    try:
        fs.unlink(name, dir_fd=dir_fd)
    except OSError:
        pass


def close_quietly(fs: FileSystem, fd: int) -> None:
    """Close a descriptor whose errors mean nothing: it was read, or its file is thrown away."""
    try:
        fs.close(fd)
    except OSError:
        pass
