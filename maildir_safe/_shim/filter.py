"""The seccomp filter: a few instructions that notify us of some calls and allow all others."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from maildir_safe._shim.calls import MACHINES, NUMBERS, SECCOMP
from maildir_safe.errors import TemporaryError

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER_AT, _ARCH_AT = 0, 4  # in struct seccomp_data
ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000

_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5  # Linux 5.19
_PR_SET_NO_NEW_PRIVS = 38
_OLDEST = (5, 9)

CAUGHT = ("link", "linkat", "unlink", "unlinkat", "landlock_restrict_self")
RENAMES = ("rename", "renameat", "renameat2")


class Unsupported(TemporaryError):
    """This kernel, machine or container does not let the shim work; the program was not started."""

    status = "4.3.5"


def program(names: tuple[str, ...]) -> bytes:
    """The filter that notifies us of these calls, for all architectures of `calls.NUMBERS`.

    Args:
        names: names of system calls, as in `calls.NUMBERS`.
    """
    code = [_instruction(_LOAD, _ARCH_AT)]
    for arch, table in NUMBERS.items():
        numbers = [table[name] for name in names if name in table]
        block = [_instruction(_LOAD, _NUMBER_AT)]
        for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
            block.append(_instruction(_EQUAL, number, left))  # jump over the rest and over ALLOW
        block += [_instruction(_RETURN, ALLOW), _instruction(_RETURN, NOTIFY)]
        code += [_instruction(_EQUAL, arch, 0, len(block)), *block]
    code.append(_instruction(_RETURN, ALLOW))
    return b"".join(code)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def check_kernel() -> None:
    """Check in advance whether the shim can work here.

    Raises:
        Unsupported: the architecture is unknown, Linux is older than 5.9, or /proc is not that of our own
            process namespace, where the kernel's numbers would mean other processes.
    """
    system = os.uname()
    version = tuple(int(part) for part in system.release.split("-")[0].split(".")[:2] if part.isdigit())
    if (system.machine, ctypes.sizeof(ctypes.c_void_p)) not in MACHINES:
        raise Unsupported(f"the shim knows x86-64, i386 and aarch64, not {system.machine}")
    if version < _OLDEST:
        raise Unsupported(f"the shim needs Linux 5.9 or later, this is {system.release}")
    try:
        at_home = os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        at_home = False
    if not at_home:
        raise Unsupported("the shim needs /proc, mounted in the process namespace that it runs in")


def install(code: bytes, killable: bool = True) -> tuple[int, bool, bool]:
    """Put this process, and all that it starts, under the filter. It cannot be removed again.

    Args:
        code: from `program`.
        killable: let only fatal signals interrupt a call that the supervisor is handling.

    Returns:
        The descriptor of the kernel's questions; whether ``no_new_privs`` had to be set for good, which
        the kernel requires without CAP_SYS_ADMIN; and whether only fatal signals interrupt.

    Raises:
        Unsupported: the filter cannot be installed; the text has the reason.
    """
    given_up = False
    flags = _NEW_LISTENER | (_WAIT_KILLABLE if killable else 0)
    while True:
        fd, error = _seccomp(code, flags)
        if fd >= 0:
            return fd, given_up, bool(flags & _WAIT_KILLABLE)
        if error == errno.EINVAL and flags & _WAIT_KILLABLE:
            flags &= ~_WAIT_KILLABLE
        elif error == errno.EACCES and not given_up:
            given_up = True
            if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
                raise Unsupported("no_new_privs cannot be set here")
        else:
            raise Unsupported(_REASONS.get(error, f"seccomp: {os.strerror(error)}"))


_REASONS = {
    errno.EBUSY: "this runs under a seccomp listener already (another maildir-safe run?): only one can run",
    errno.EPERM: "seccomp(2) is forbidden here: the container's profile must allow it",
    errno.ENOSYS: "this kernel has no seccomp filters, or the container's profile forbids them",
    errno.EINVAL: "this kernel's seccomp filters cannot notify",
    errno.EACCES: "the kernel refuses a filter even without new privileges",
}


def _seccomp(code: bytes, flags: int) -> tuple[int, int]:
    libc = ctypes.CDLL(None, use_errno=True)
    number = SECCOMP[MACHINES[os.uname().machine, ctypes.sizeof(ctypes.c_void_p)]]
    prog = _Program(len(code) // 8, code)
    fd = libc.syscall(
        ctypes.c_long(number), ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(flags), ctypes.byref(prog)
    )
    return int(fd), ctypes.get_errno()
