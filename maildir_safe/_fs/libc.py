"""System calls that Python's `os` lacks, made through ctypes. Imported on first use: ctypes loads slowly."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_MACHINE = os.uname().machine, ctypes.sizeof(ctypes.c_void_p)
_SYS_SETGROUPS = {  # by machine and size of a pointer: see syscall(2), and asm/unistd.h of each
    ("x86_64", 8): 116, ("x86_64", 4): 206, ("i686", 4): 206, ("aarch64", 8): 159, ("riscv64", 8): 159,
    ("loongarch64", 8): 159, ("ppc64le", 8): 81, ("s390x", 8): 206, ("armv7l", 4): 206, ("armv6l", 4): 206,
}  # fmt: skip
_SYS_STATX = {("x86_64", 8): 332, ("x86_64", 4): 383, ("i686", 4): 383, ("aarch64", 8): 291}  # as above
_SYS_OPENAT2 = 437  # everywhere
_RESOLVE_NO_MAGICLINKS = 2
_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve
_AT_FDCWD = -100
_AT_NO_AUTOMOUNT, _AT_STATX_DONT_SYNC = 0x800, 0x4000
_STATX_INO, _STATX_MNT_ID = 0x100, 0x1000  # the second since Linux 5.8
_STATX = struct.Struct("=I28xQ104xQ104x")  # struct statx: mask, inode, mount
_StatxBuffer = ctypes.c_char * _STATX.size  # a type that ctypes would forget, and make anew each time
_ALL = ctypes.c_int64(0)  # from the beginning, to the end


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def syncfs(fd: int) -> None:
    """Make the file system that holds `fd` durable; see syncfs(2).

    A failed write is reported once per open descriptor (Linux 5.8 and later).
    """
    _checked(_libc.syncfs(fd))


def start_writing(fd: int) -> None:
    """Start writeback of a file's pages without waiting; see sync_file_range(2).

    This makes nothing durable. The fsync or syncfs that must follow reports the errors.
    """
    _libc.sync_file_range(fd, _ALL, _ALL, _SYNC_FILE_RANGE_WRITE)


def rename_noreplace(src: str, dst: str, src_dir_fd: int, dst_dir_fd: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE: EEXIST if `dst` exists, EINVAL where unsupported."""
    _checked(_libc.renameat2(src_dir_fd, os.fsencode(src), dst_dir_fd, os.fsencode(dst), _RENAME_NOREPLACE))


def mount_and_inode(path: str) -> tuple[int, int]:
    """The mount and the inode of a file, by one statx(2), which follows links and asks no server for them.

    While a mount exists, its number is unique in all mount namespaces.

    Raises:
        OSError: there is no such file, or the kernel does not tell mounts (before Linux 5.8).
    """
    number = _SYS_STATX.get(_MACHINE, -1)
    buffer = _StatxBuffer()
    flags, mask = _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC, _STATX_INO | _STATX_MNT_ID
    _checked(_libc.syscall(number, _AT_FDCWD, os.fsencode(path), flags, mask, buffer))
    found, inode, mount = _STATX.unpack(buffer)
    if found & mask != mask:
        raise OSError(errno.ENOSYS, "the kernel does not tell mounts")
    return mount, inode


def open_directory(path: str, dir_fd: int | None) -> int:
    """Open a directory for look-ups (O_PATH) in the way that is the same for each process; see openat2(2).

    Links of /proc, as in /proc/self/cwd, mean something else in another process. A path that leads through
    one is refused, unless the kernel, or the profile of a container, does not know openat2.

    Raises:
        OSError: ELOOP: the path leads through such a link; or there is no such directory.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    how = _HOW.pack(flags, 0, _RESOLVE_NO_MAGICLINKS)
    start = _AT_FDCWD if dir_fd is None else dir_fd
    size = ctypes.c_size_t(_HOW.size)
    fd = int(_libc.syscall(ctypes.c_long(_SYS_OPENAT2), ctypes.c_long(start), os.fsencode(path), how, size))
    if fd >= 0:
        return fd
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EPERM):
        return os.open(path, flags, dir_fd=dir_fd)
    raise OSError(number, os.strerror(number))


def set_file_system_ids(uid: int, gid: int, groups: Sequence[int] | None = None) -> None:
    """Set the user and groups with which the calling thread, and no other, accesses files.

    The calls are setfsuid(2), setfsgid(2) and setgroups(2). As a system call, setgroups is about the
    thread; the function of that name in the C library is about all threads.

    Args:
        uid, gid: user and group.
        groups: the supplementary groups; None leaves them as they are.

    Raises:
        PermissionError: the kernel did not change them. The first two calls themselves report no error.
    """
    if groups is not None:
        _set_groups(groups)
    if uid:  # set the group while the user is still root; restore in the opposite order
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
    else:
        _libc.setfsuid(uid)
        _libc.setfsgid(gid)
    if _libc.setfsuid(-1) != uid or _libc.setfsgid(-1) != gid:
        raise PermissionError(errno.EPERM, f"cannot use files as uid {uid}, gid {gid}")


def has_file_system_ids(uid: int, gid: int, groups: Sequence[int]) -> bool:
    """Whether the calling thread accesses files with this user and these groups, and no others."""
    found = (_libc.setfsuid(-1), _libc.setfsgid(-1), sorted(os.getgroups()))
    return found == (uid, gid, sorted(groups))


def set_file_system_group(gid: int) -> None:
    """Set the group with which the calling thread, and no other, accesses files; see setfsgid(2).

    Raises:
        PermissionError: the kernel did not change it.
    """
    _libc.setfsgid(gid)
    if _libc.setfsgid(-1) != gid:
        raise PermissionError(errno.EPERM, f"cannot use files as gid {gid}")


def _set_groups(groups: Sequence[int]) -> None:
    number = _SYS_SETGROUPS.get(_MACHINE)
    if number is None:
        raise PermissionError(errno.EPERM, "cannot leave root's groups here: run it without them (setpriv)")
    _checked(_libc.syscall(number, len(groups), (ctypes.c_uint32 * len(groups))(*groups)))
