"""The seam: what this package asks of a file system and of its host, and nothing more.

`FileSystem` is the protocol; `maildir_safe._fs.posix.OsFileSystem` is the real thing, and
`maildir_safe.testing.simfs.SimHost` a simulated one. Only this package may use the file calls of
`os`; a test enforces it. There is no logic here: an error is the `OSError` of the one call that
was made, and the caller decides what it means.

Directories are named by descriptors (`openat` and friends): a path that is renamed or mounted
over while mail is being delivered cannot send a message elsewhere, and SMB needs 10 network
calls a message this way instead of 16.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` costs a mail delivery agent a tenth of its start-up time
    import os
    from typing import BinaryIO, Protocol
else:
    Protocol = object


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
        """A descriptor of a directory, by path, or by name in `dir_fd`.

        In `dir_fd` no symbolic link is followed (ENOTDIR), and root is given only what belongs to root
        or to the owner of `dir_fd` (EPERM): whoever owns a Maildir must not lead root elsewhere.
        """

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
        """Make a file's contents, or a directory's entries, durable. One call: EINTR is an error."""

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
