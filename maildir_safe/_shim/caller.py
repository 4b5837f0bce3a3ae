"""The caller: what /proc tells about a stopped thread.

Everything here is read while the thread is stopped in its call. The number of a thread that has ended may
already belong to another thread. So call `Listener.valid` after reading, before you trust the result.
"""

from __future__ import annotations

import os

from maildir_safe._fs import libc
from maildir_safe._shim.calls import AT_FDCWD

_PATH_MAX = 4096
_USUAL = 256  # most paths are shorter, and a page is much to copy
_BASE = os.O_PATH | os.O_CLOEXEC


class Credentials:
    """The credentials that decide which files a thread may access.

    Attributes:
        uids, gids: real, effective, saved and file system ids.
        groups: supplementary groups, sorted.
        capabilities: the effective set, a bit mask.
    """

    __slots__ = ("capabilities", "gids", "groups", "uids")

    def __init__(
        self, uids: tuple[int, ...], gids: tuple[int, ...], groups: tuple[int, ...], capabilities: int
    ) -> None:
        self.uids = uids
        self.gids = gids
        self.groups = groups
        self.capabilities = capabilities

    def key(self) -> tuple[object, ...]:
        """A key that is equal for equal credentials."""
        return self.uids, self.gids, self.groups, self.capabilities

    def rights(self) -> tuple[tuple[int, ...], int]:
        """What is equal for credentials that differ in groups alone."""
        return self.uids, self.capabilities


class Caller:
    """A stopped thread.

    Attributes:
        tid: its number.
        tgid, parent: the numbers of its process and of the parent process.
        credentials: see `Credentials`.
        confined: whether it has ``no_new_privs``, which sandboxes need.
        filters: the number of its seccomp filters.
        user_namespace: its user namespace.
        command: the name of its program, for people.
        label: its label from a security module (AppArmor, SELinux); nothing on systems without one.
        root: mount and inode of its root directory. Each mount is in one mount namespace.
    """

    __slots__ = (
        "command", "confined", "credentials", "filters", "label", "parent", "root", "tgid", "tid",
        "user_namespace",
    )  # fmt: skip

    def __init__(self, tid: int, labels: bool = True) -> None:
        """Read the thread's data.

        Args:
            tid: its number.
            labels: whether the system has labels; each file of /proc is made when it is first read, slowly.

        Raises:
            OSError: the thread is gone, or may not be inspected.
            ValueError: /proc has an unknown format.
        """
        self.tid = tid
        status = _status(tid)
        self.command = os.fsdecode(status[6 : status.index(b"\n")])  # "Name:" comes first
        self.tgid = int(_field(status, b"Tgid"))
        self.parent = int(_field(status, b"PPid"))
        self.credentials = Credentials(
            tuple(map(int, _field(status, b"Uid").split())),
            tuple(map(int, _field(status, b"Gid").split())),
            tuple(sorted(map(int, _field(status, b"Groups").split()))),
            int(_field(status, b"CapEff"), 16),
        )
        self.confined = int(_field(status, b"NoNewPrivs"))
        self.filters = int(_field(status, b"Seccomp_filters"))
        self.user_namespace = os.readlink(f"/proc/{tid}/ns/user")
        self.label = _label(tid) if labels else b""
        self.root = libc.mount_and_inode(f"/proc/{tid}/root")


def _status(tid: int) -> bytes:
    fd = os.open(f"/proc/{tid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 1 << 13)
        while b"\nSeccomp_filters:" not in text:  # a process may be in 65536 groups
            more = os.read(fd, 1 << 16)
            if not more:
                raise ValueError("this kernel does not count filters")
            text += more
        return text
    finally:
        os.close(fd)


def _field(status: bytes, name: bytes) -> bytes:
    at = status.index(b"\n" + name + b":\t") + len(name) + 3
    return status[at : status.index(b"\n", at)]


def _label(tid: int) -> bytes:
    try:
        with open(f"/proc/{tid}/attr/current", "rb", buffering=0) as file:
            return file.read(4096)
    except OSError:  # no security module with labels
        return b""


def process(pid: int) -> tuple[int, int]:
    """A process's number and start time, which together are unique.

    Raises:
        OSError: the process is gone.
    """
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        fields = file.read(4096).rpartition(b")")[2].split()
    return pid, int(fields[19])


def user(tid: int) -> tuple[int, int]:
    """The effective user and group of a thread, by one fast call; root's if it is gone."""
    try:
        found = os.stat(f"/proc/{tid}")
    except OSError:
        return 0, 0
    return found.st_uid, found.st_gid


def has_rights(caller: Caller) -> bool:
    """Whether a thread is root, or can get the rights of other users: has any permitted capability.

    Raises:
        OSError, ValueError: see `Caller`.
    """
    return 0 in caller.credentials.uids or int(_field(_status(caller.tid), b"CapPrm"), 16) != 0


class Memory:
    """The memory of a thread."""

    def __init__(self, tid: int) -> None:
        self._fd = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)

    def path(self, address: int) -> str:
        """The path at an address.

        Raises:
            OSError, ValueError: there is no path.
        """
        try:
            text = os.pread(self._fd, _USUAL, address)
            if b"\0" not in text:
                text = os.pread(self._fd, _PATH_MAX, address)
        except OverflowError:  # the upper half of the address space is not the program's
            raise ValueError("not an address of a program") from None
        end = text.find(b"\0")
        if end <= 0:
            raise ValueError("no path, or too long")
        return os.fsdecode(text[:end])


def base(tid: int, dir_fd: int) -> int:
    """Open the directory that a caller's relative path starts from. The descriptor is yours to close.

    Raises:
        OSError: there is no such directory.
    """
    return os.open(f"/proc/{tid}/cwd" if dir_fd == AT_FDCWD else f"/proc/{tid}/fd/{dir_fd}", _BASE)


def root(tid: int) -> int:
    """Open a caller's root directory. The descriptor is yours to close."""
    return os.open(f"/proc/{tid}/root", _BASE)
