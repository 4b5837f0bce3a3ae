"""The file-system interface: every call that the rest of the package makes on a file system and its host.

`FileSystem` is the protocol. `maildir_safe._fs.posix.OsFileSystem` implements it with the operating
system's calls, and `maildir_safe.testing.simfs.SimHost` simulates it. Only this package uses the file
calls of `os` for mail; a test enforces that. No implementation interprets an error: it raises the
`OSError` of the call, and the caller decides what the error means.

Directories are named by descriptors (`openat` and similar calls). A path that is renamed or mounted
over during a delivery therefore cannot redirect a message, and SMB needs 10 network calls per
message instead of 16.
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
        fstype: the type as the kernel names it: ``ext4``, ``nfs4``, ``fuse.sshfs``; ``""`` if unknown.
        source: the device or export, for example ``server:/mail``.
        options: mount and super-block options, comma separated.
        point: the directory on which it is mounted, as the kernel writes it (a space is ``\\040``).
    """

    __slots__ = ("fstype", "options", "point", "source")

    def __init__(self, fstype: str, source: str, options: str, point: str) -> None:
        self.fstype = fstype
        self.source = source
        self.options = options
        self.point = point


class FileSystem(Protocol):
    """The calls that deliveries and queues need. Every call succeeds or raises `OSError`.

    `dir_fd` is a descriptor from `open_dir`. A name is one path component, as text that
    round-trips any byte (`os.fsdecode`).
    """

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        """Open a directory by path, or by name in `dir_fd`; return its descriptor.

        With `dir_fd`, symbolic links are not followed (ENOTDIR), and root can open only directories
        that belong to root or to the owner of `dir_fd` (EPERM). The owner of a Maildir thus cannot
        redirect root elsewhere.
        """

    def create(self, name: str, dir_fd: int) -> int:
        """Create a file, mode 0600, for writing; EEXIST if the name is taken."""

    def open(self, name: str, dir_fd: int | None = None) -> int:
        """Open a file for reading, by path, or by name in `dir_fd`; no symbolic link is followed."""

    def read(self, fd: int, size: int) -> bytes:
        """Read at most `size` bytes from the current offset; ``b""`` at the end."""

    def reader(self, fd: int) -> BinaryIO:
        """Return a buffered, seekable binary file over a descriptor from `open`. The file then owns it."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data`; return the number of bytes written, which may be less than all."""

    def fsync(self, fd: int) -> None:
        """Make a file's contents, or a directory's entries, durable. One call is made: EINTR is an error."""

    def syncfs(self, fd: int) -> None:
        """Make everything on the file system that holds `fd` durable (Linux)."""

    def start_writing(self, fd: int) -> None:
        """Start writeback of a file without waiting. This is only for speed and promises nothing (Linux)."""

    def close(self, fd: int) -> None:
        """Close a descriptor; an error may be the first report of a failed write."""

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Rename a file or directory; an existing `dst` is replaced."""

    def rename_noreplace(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Rename with RENAME_NOREPLACE. Only `probe` calls it: few mounts support it."""

    def link(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Make a hard link. Only `probe` and `bench` call it: nothing that handles mail does."""

    def unlink(self, name: str, /, *, dir_fd: int) -> None:
        """Remove a file's name."""

    def mkdir(self, name: str, dir_fd: int | None = None) -> None:
        """Make a directory, mode 0700."""

    def rmdir(self, name: str, dir_fd: int | None = None) -> None:
        """Remove an empty directory."""

    def listdir(self, dir_fd: int) -> list[str]:
        """Return the names in a directory. It is opened again for each call, so that the listing is fresh."""

    def stat(self, name: str, dir_fd: int) -> os.stat_result:
        """Return the status of a name; symbolic links are not followed."""

    def fstat(self, fd: int) -> os.stat_result:
        """Return the status of an open file or directory."""

    def readlink(self, name: str, dir_fd: int) -> str:
        """Return the target of a symbolic link: Coda shows conflicts as links."""

    def chmod(self, fd: int, mode: int) -> None:
        """Change the mode of an open file."""

    def utime(self, name: str, dir_fd: int, mtime_ns: int) -> None:
        """Set a file's times of last access and modification, in nanoseconds since 1970."""

    def mount(self, fd: int) -> Mount:
        """Return the mount that holds an open file or directory; never raises."""

    def time_ns(self) -> int:
        """Return the host's wall clock in nanoseconds since 1970. It may jump: use it only for names."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps and stops while the host is suspended."""

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps and keeps running while the host is suspended."""

    def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""

    def random(self, size: int) -> bytes:
        """Return `size` random bytes, which no other process gets."""
