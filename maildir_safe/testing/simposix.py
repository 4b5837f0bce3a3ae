"""Runs unmodified code that calls `os`, `open`, `time` and `socket` on a simulated host.

    with redirected(mailbox, host):
        mailbox.Maildir("/mail").add(b"...")

The names in the module's own namespace are replaced for the time of the block; the module's
code is not touched. Enough of `os` for the standard library's `mailbox.Maildir`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import posixpath
import socket
import stat
import time
import types
from collections.abc import Iterator
from typing import Any

from maildir_safe.testing.simdisk import fail
from maildir_safe.testing.simfile import SimFile
from maildir_safe.testing.simhost import SimHost


class SimOs:
    """The calls that `mailbox.Maildir` makes on `os`, by path, made on a `SimHost`."""

    fspath = staticmethod(os.fspath)
    getpid = staticmethod(lambda: 4711)
    O_CREAT, O_EXCL, O_RDWR, O_WRONLY, O_RDONLY = os.O_CREAT, os.O_EXCL, os.O_RDWR, os.O_WRONLY, os.O_RDONLY
    linesep, sep, name = os.linesep, os.sep, os.name

    def __init__(self, host: SimHost) -> None:
        self._host = host
        self._dirs: dict[str, int] = {}
        self.path = types.SimpleNamespace(**{name: getattr(posixpath, name) for name in posixpath.__all__})
        self.path.exists = lambda path: self._mode(path) != 0
        self.path.isdir = lambda path: stat.S_ISDIR(self._mode(path))
        self.path.getmtime = lambda path: self.stat(path).st_mtime
        self.path.getatime = lambda path: self.stat(path).st_atime
        self.fsync, self.close = host.fsync, host.close

    def _at(self, path: str) -> tuple[str, int]:
        above, name = posixpath.split(posixpath.normpath(path))
        if above not in self._dirs:
            self._dirs[above] = self._host.open_dir(above)
        return name, self._dirs[above]

    def _mode(self, path: str) -> int:
        try:
            return self.stat(path).st_mode
        except OSError:
            return 0

    def stat(self, path: str) -> os.stat_result:
        """See `os.stat`."""
        return self._host.stat(*self._at(path))

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:  # noqa: ARG002
        """See `os.open`: creation with O_EXCL only, as mailbox does."""
        if flags & os.O_CREAT and flags & os.O_EXCL:
            return self._host.create(*self._at(path))
        raise fail(errno.ENOSYS, path)

    def link(self, src: str, dst: str) -> None:
        """See `os.link`."""
        self._two(self._host.link, src, dst)

    def rename(self, src: str, dst: str) -> None:
        """See `os.rename`."""
        self._two(self._host.rename, src, dst)

    def _two(self, call: Any, src: str, dst: str) -> None:
        (src_name, src_dir), (dst_name, dst_dir) = self._at(src), self._at(dst)
        call(src_name, dst_name, src_dir_fd=src_dir, dst_dir_fd=dst_dir)

    def remove(self, path: str) -> None:
        """See `os.remove`."""
        name, dir_fd = self._at(path)
        self._host.unlink(name, dir_fd=dir_fd)

    def mkdir(self, path: str, mode: int = 0o777) -> None:  # noqa: ARG002
        """See `os.mkdir`."""
        self._host.mkdir(*self._at(path))

    def listdir(self, path: str) -> list[str]:
        """See `os.listdir`."""
        return self._host.listdir(self._at(posixpath.join(path, "x"))[1])

    def utime(self, path: str, times: tuple[float, float]) -> None:
        """See `os.utime`."""
        name, dir_fd = self._at(path)
        self._host.utime(name, dir_fd, int(times[1] * 1e9))


@contextlib.contextmanager
def redirected(module: types.ModuleType, host: SimHost) -> Iterator[None]:
    """Make `module` use `host` instead of this machine within a block."""
    fake_os = SimOs(host)

    def open_file(path: str, mode: str = "r", *_: object) -> Any:
        raw = SimFile(host, host.open(*fake_os._at(path)), path)
        return io.BufferedReader(raw) if mode == "rb" else io.BufferedRandom(raw)

    fakes: dict[str, object] = {
        "os": fake_os,
        "open": open_file,
        "time": types.SimpleNamespace(time=lambda: host.time_ns() / 1e9, **_others(time, "time")),
        "socket": types.SimpleNamespace(gethostname=lambda: host.name, **_others(socket, "gethostname")),
    }
    missing = object()
    before = {name: vars(module).get(name, missing) for name in fakes}
    vars(module).update(fakes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                delattr(module, name)
            else:
                setattr(module, name, value)


def _others(module: types.ModuleType, besides: str) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name != besides and name[0] != "_"}
