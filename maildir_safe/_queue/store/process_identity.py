"""The identity of a process, in a form that another process on the same machine can check.

If a worker's death can be proved, no observer has to wait for its lease to end. The proof is: the same boot
of the same kernel, the same pid namespace, and no such process, or one that was started at another time.
Anything less proves nothing: containers share a boot id, and other hosts have other processes.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem

_START_FIELD = 19  # of /proc/<pid>/stat, counted after the command's closing parenthesis (proc(5): 22)


def describe(fs: FileSystem) -> bytes:
    """This process's boot id, pid namespace, pid and start time; empty if the system does not tell."""
    try:
        where = _place(fs)
        return f"{where} {os.getpid()} {_start_time(fs, os.getpid())}\n".encode()
    except OSError:
        return b""


def is_dead(fs: FileSystem, description: bytes) -> bool:
    """Whether the described process has provably ended."""
    fields = description.decode("ascii", "replace").split()
    try:
        if len(fields) != 4 or " ".join(fields[:2]) != _place(fs):
            return False
        os.kill(int(fields[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        pass  # EPERM: the process exists; after other errors nothing is known
    try:
        return _start_time(fs, int(fields[2])) != fields[3]
    except (OSError, ValueError, OverflowError):
        return False


def _place(fs: FileSystem) -> str:
    """Boot id and pid namespace. Within both, a pid and a start time identify one process for ever."""
    boot = _read(fs, "/proc/sys/kernel/random", "boot_id").strip()
    namespaces = fs.open_dir("/proc/self/ns")
    try:
        return f"{boot} {fs.readlink('pid', namespaces)}"
    finally:
        close_quietly(fs, namespaces)


def _start_time(fs: FileSystem, pid: int) -> str:
    after_command = _read(fs, f"/proc/{pid}", "stat").rpartition(")")[2].split()
    if len(after_command) <= _START_FIELD:
        raise OSError(errno.ENODATA, "no start time")
    return after_command[_START_FIELD]


def _read(fs: FileSystem, directory: str, name: str) -> str:
    dir_fd = fs.open_dir(directory)
    try:
        fd = fs.open(name, dir_fd)
        try:
            return fs.read(fd, 4096).decode("utf-8", "replace")
        finally:
            close_quietly(fs, fd)
    finally:
        close_quietly(fs, dir_fd)
