"""The operating system's file calls. `maildir_safe._fs.FileSystem` documents what each of them promises."""

from __future__ import annotations

import errno
import os
import time

from maildir_safe._fs import Mount
from maildir_safe._fs.quirks import quirks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a stray fifo in a Maildir must not hang its readers; regular files ignore it
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


# Whether fsync may be interrupted, on the mounts seen so far; None: none was seen. Where it may not on any,
# `os.fsync`, which is loaded, is correct. Not by the descriptor's own device: an fstat after a write is a
# network call on NFS and SMB.
_interrupted: bool | None = None


def _note_type(fstype: str) -> None:
    """Record whether fsync on a mount of this type may be interrupted."""
    global _interrupted
    if quirks(fstype).interrupted:
        from maildir_safe._fs import fsync  # noqa: F401 - load it while descriptors are available

        _interrupted = True
    elif _interrupted is None:
        _interrupted = False


def _fsync(fs: OsFileSystem, fd: int) -> None:
    if _interrupted is None:
        fs.mount(fd)
    if _interrupted:
        from maildir_safe._fs.fsync import fsync

        fsync(fd)
    else:
        os.fsync(fd)


def _refuse_moved_here(fd: int, dir_fd: int, path: str) -> None:
    """Raise PermissionError if the owner of a directory moved another user's directory into it."""
    owner = os.fstat(fd).st_uid
    if owner != 0 and (above := os.fstat(dir_fd).st_uid) not in (0, owner):
        raise PermissionError(errno.EPERM, f"uid {owner}'s directory in uid {above}'s", path)


class OsFileSystem:
    """The operating system's file calls (Linux). Each method makes one call and interprets no error.

    `fsync` first looks up whether the mount may interrupt it; see `maildir_safe._fs.fsync`. `mount`
    records the type of the mount for that.
    """

    read = staticmethod(os.read)
    write = staticmethod(os.write)
    close = staticmethod(os.close)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    fstat = staticmethod(os.fstat)
    chmod = staticmethod(os.fchmod)
    time_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    random = staticmethod(os.urandom)

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        """See `FileSystem.open_dir`."""
        if dir_fd is None:
            return os.open(path, _DIRECTORY)
        fd = os.open(path, _DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
        if os.geteuid() == 0:
            try:
                _refuse_moved_here(fd, dir_fd, path)
            except BaseException:
                os.close(fd)
                raise
        return fd

    def create(self, name: str, dir_fd: int) -> int:
        """See `FileSystem.create`."""
        return os.open(name, _CREATE, 0o600, dir_fd=dir_fd)

    def open(self, name: str, dir_fd: int | None = None) -> int:
        """See `FileSystem.open`."""
        return os.open(name, _READ, dir_fd=dir_fd)

    def reader(self, fd: int) -> BinaryIO:
        """See `FileSystem.reader`."""
        return os.fdopen(fd, "rb")

    def fsync(self, fd: int) -> None:
        """See `FileSystem.fsync`."""
        if _interrupted is False:  # the usual case
            os.fsync(fd)
        else:
            _fsync(self, fd)

    def syncfs(self, fd: int) -> None:
        """See `FileSystem.syncfs`."""
        from maildir_safe._fs import libc

        libc.syncfs(fd)

    @property
    def start_writing(self) -> Callable[[int], None]:
        """See `FileSystem.start_writing`; looked up once per batch."""
        from maildir_safe._fs import libc

        return libc.start_writing

    def rename_noreplace(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """See `FileSystem.rename_noreplace`."""
        from maildir_safe._fs import libc

        libc.rename_noreplace(src, dst, src_dir_fd, dst_dir_fd)

    def link(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """See `FileSystem.link`."""
        os.link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)

    def mkdir(self, name: str, dir_fd: int | None = None) -> None:
        """See `FileSystem.mkdir`."""
        os.mkdir(name, 0o700, dir_fd=dir_fd)

    def rmdir(self, name: str, dir_fd: int | None = None) -> None:
        """See `FileSystem.rmdir`."""
        os.rmdir(name, dir_fd=dir_fd)

    def listdir(self, dir_fd: int) -> list[str]:
        """See `FileSystem.listdir`."""
        fresh = os.open(".", _DIRECTORY, dir_fd=dir_fd)
        try:
            return os.listdir(fresh)
        finally:
            os.close(fresh)

    def stat(self, name: str, dir_fd: int) -> os.stat_result:
        """See `FileSystem.stat`."""
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def readlink(self, name: str, dir_fd: int) -> str:
        """See `FileSystem.readlink`."""
        return os.readlink(name, dir_fd=dir_fd)

    def utime(self, name: str, dir_fd: int, mtime_ns: int) -> None:
        """See `FileSystem.utime`."""
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)

    def mount(self, fd: int) -> Mount:
        """See `FileSystem.mount`; uses the descriptor's mount id, so that bind mounts are distinguished."""
        try:
            with open(f"/proc/self/fdinfo/{fd}") as info:
                mount_id = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
            with open("/proc/self/mountinfo", errors="surrogateescape") as table:
                row = next(line for line in table if line.startswith(mount_id + " "))
        except (OSError, StopIteration):
            _note_type("")
            return Mount("", "", "", "")
        left, right = row.rstrip("\n").split(" - ", 1)
        fstype, source, super_options = right.split(" ")  # not split(): a source may be empty
        fields = left.split()
        _note_type(fstype)
        return Mount(fstype, source, f"{fields[5]},{super_options}", fields[4])

    def boottime(self) -> float:
        """See `FileSystem.boottime`."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
