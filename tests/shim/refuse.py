"""Run a command on a machine whose links are refused: python refuse.py ERRNO COMMAND...

A seccomp filter answers each linkat() that starts from an open directory, which is how the
supervisor links, with ERRNO; those that start from the working directory, as programs make them,
are not touched, so that the shim's own filter sees them. ERRNO 0: nothing is refused.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

LINKAT = {"x86_64": 265, "aarch64": 37}[os.uname().machine]
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
AT_FDCWD = 0xFFFFFF9C


def refuse(error: int) -> None:
    code = b"".join(
        struct.pack("=HBBI", *line)
        for line in (
            (0x20, 0, 0, 0),  # the number
            (0x15, 0, 3, LINKAT),
            (0x20, 0, 0, 16),  # the first argument
            (0x15, 1, 0, AT_FDCWD),
            (0x06, 0, 0, 0x00050000 | error),
            (0x06, 0, 0, 0x7FFF0000),
        )
    )

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid():
        libc.prctl(38, 1, 0, 0, 0)
    if libc.syscall(SECCOMP, 1, 0, ctypes.byref(Program(6, code))):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    if int(sys.argv[1]):
        refuse(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
