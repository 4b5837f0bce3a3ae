"""The seam: what this package asks of a file system and of its host, and nothing more.

`FileSystem` is the protocol, `OsFileSystem` the real thing, and
`maildir_safe.testing.simfs.SimHost` a simulated one. This is the only module that may use the
file calls of `os`; a test enforces it. There is no logic here: an error is the `OSError` of
the one call that was made, and whoever called decides what it means.

Directories are named by descriptors (`openat` and friends): a path that is renamed or mounted
over while mail is being delivered cannot send a message elsewhere, and SMB needs 10 network
calls a message this way instead of 16 (FACTS.md, "Calls over the wire").
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` costs a mail delivery agent a tenth of its start-up time
    from collections.abc import Callable
    from typing import BinaryIO, Protocol
else:
    Protocol = object

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a stray fifo in a Maildir must not hang its readers; regular files ignore it
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Mount:
    """One line of /proc/self/mountinfo.

    Attributes:
        fstype: as the kernel names it: ``ext4``, ``nfs4``, ``fuse.sshfs``; ``""`` if unknown.
        source: the device or export, for example ``server:/mail``.
        options: mount and super-block options, comma separated.
        point: the directory it is mounted on, as the kernel writes it (a space is ``\\040``).
    """

    __slots__ = ("fstype", "options", "point", "source")

    def __init__(self, fstype: str, source: str, options: str, point: str) -> None:
        self.fstype = fstype
        self.source = source
        self.options = options
        self.point = point


class FileSystem(Protocol):
    """What delivering and queueing need. Every call raises `OSError` or succeeds.

    `dir_fd` is a descriptor from `open_dir`; names are single path components, text that
    round-trips any byte (`os.fsdecode`).
    """

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        """A descriptor of a directory, by path, or by name in `dir_fd`."""

    def create(self, name: str, dir_fd: int) -> int:
        """A new file, mode 0600, for writing; EEXIST if the name is taken."""

    def open(self, name: str, dir_fd: int | None = None) -> int:
        """An existing file for reading, by path, or by name in `dir_fd`; it is no symbolic link."""

    def read(self, fd: int, size: int) -> bytes:
        """At most `size` bytes from the current offset; ``b""`` at the end."""

    def reader(self, fd: int) -> BinaryIO:
        """A buffered, seekable binary file over a descriptor from `open`, which it then owns."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data`; how many bytes were taken, which may be fewer."""

    def fsync(self, fd: int) -> None:
        """Make a file's contents, or a directory's entries, durable."""

    def syncfs(self, fd: int) -> None:
        """Make all of the file system that holds `fd` durable (Linux)."""

    def start_writing(self, fd: int) -> None:
        """Begin to write a file out, and do not wait: for speed alone, it promises nothing (Linux)."""

    def close(self, fd: int) -> None:
        """Close a descriptor; an error may be the first word of a failed write."""

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Move a name; an existing `dst` is replaced."""

    def rename_noreplace(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Move a name with RENAME_NOREPLACE. For `probe` alone: few mounts have it."""

    def link(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """A hard link. For `probe` and `bench` alone: nothing that handles mail calls it."""

    def unlink(self, name: str, /, *, dir_fd: int) -> None:
        """Remove a file's name."""

    def mkdir(self, name: str, dir_fd: int | None = None) -> None:
        """Make a directory, mode 0700."""

    def rmdir(self, name: str, dir_fd: int | None = None) -> None:
        """Remove an empty directory."""

    def listdir(self, dir_fd: int) -> list[str]:
        """The names in a directory, from a fresh look: it is opened again for each call."""

    def stat(self, name: str, dir_fd: int) -> os.stat_result:
        """What the system knows of a name; symbolic links are not followed."""

    def fstat(self, fd: int) -> os.stat_result:
        """What the system knows of an open file or directory."""

    def readlink(self, name: str, dir_fd: int) -> str:
        """Where a symbolic link points: Coda shows conflicts as links."""

    def chmod(self, fd: int, mode: int) -> None:
        """Change the mode of an open file."""

    def utime(self, name: str, dir_fd: int, mtime_ns: int) -> None:
        """Set a file's times of last access and change, in nanoseconds since 1970."""

    def mount(self, fd: int) -> Mount:
        """The mount that an open file or directory lies on; never raises."""

    def time_ns(self) -> int:
        """The host's wall clock, nanoseconds since 1970. May jump: only for names."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps and stops while the host sleeps."""

    def boottime(self) -> float:
        """Seconds on a clock that never jumps and runs on while the host sleeps."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def random(self, size: int) -> bytes:
        """Bytes that no other process has."""


class OsFileSystem:
    """The operating system's file calls, one each, without logic (Linux)."""

    read = staticmethod(os.read)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
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
        return os.open(path, _DIRECTORY, dir_fd=dir_fd)

    def create(self, name: str, dir_fd: int) -> int:
        """See `FileSystem.create`."""
        return os.open(name, _CREATE, 0o600, dir_fd=dir_fd)

    def open(self, name: str, dir_fd: int | None = None) -> int:
        """See `FileSystem.open`."""
        return os.open(name, _READ, dir_fd=dir_fd)

    def reader(self, fd: int) -> BinaryIO:
        """See `FileSystem.reader`."""
        return os.fdopen(fd, "rb")

    def syncfs(self, fd: int) -> None:
        """See `FileSystem.syncfs`."""
        from maildir_safe._fs import libc

        libc.syncfs(fd)

    @property
    def start_writing(self) -> Callable[[int], None]:
        """See `FileSystem.start_writing`; looked up once a batch."""
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
        """See `FileSystem.mount`; found by the descriptor's mount id, so bind mounts are told apart."""
        try:
            with open(f"/proc/self/fdinfo/{fd}") as info:
                mount_id = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
            with open("/proc/self/mountinfo", errors="surrogateescape") as table:
                row = next(line for line in table if line.startswith(mount_id + " "))
        except (OSError, StopIteration):
            return Mount("", "", "", "")
        left, right = row.rstrip("\n").split(" - ", 1)
        fstype, source, super_options = right.split(" ")  # not split(): a source may be empty
        fields = left.split()
        return Mount(fstype, source, f"{fields[5]},{super_options}", fields[4])

    def boottime(self) -> float:
        """See `FileSystem.boottime`."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
