"""fsync(2), called once.

`os.fsync` repeats the call while it fails with EINTR (PEP 475). A second fsync of a file says nothing
about the first: the kernel may have reported the error and dropped the pages. Here, therefore, an
interrupted fsync is an error like any other.

This module is loaded only where an fsync may be interrupted (`Quirks.interrupted`). `_ctypes`, the part
of `ctypes` that does the work, takes a twentieth of a mail delivery agent's start-up, and `ctypes` ten
times that.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:

    def fsync(fd: int, /) -> None:
        """Make a file's contents, or a directory's entries, durable.

        Raises:
            OSError: the call failed or was interrupted (EINTR). Whether anything is durable is unknown.
        """

else:
    try:
        from _ctypes import CFuncPtr, _SimpleCData, dlopen, dlsym, get_errno
    except ImportError:  # pragma: no cover - an interpreter that was built without libffi
        fsync = os.fsync
    else:

        class _Int(_SimpleCData):
            _type_ = "i"

        class _Call(CFuncPtr):
            _flags_ = 1 | 8  # the C calling convention, and errno kept for `get_errno`
            _restype_ = _Int

        _call = _Call(dlsym(dlopen(None, 0), "fsync"))

        def fsync(fd: int, /) -> None:
            """Call fsync(2) once; see the declaration above."""
            if _call(fd) != 0:
                number = get_errno()
                raise OSError(number, os.strerror(number))
