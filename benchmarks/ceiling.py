"""Ceilings: the calls that a durable delivery cannot do without, made with no thought for errors.

Nothing here is safe to use: names repeat, an ambiguous reply is not looked into. It is what the
machine and the interpreter allow, and so what a real delivery is measured against.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from benchmarks.deliver_rounds import Deliver
from maildir_safe._fs.libc import syncfs

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def six_calls(box: Path) -> Iterator[Deliver]:
    """openat, write, fsync, close, renameat, fsync of the directory: one message after the other."""

    def deliver(messages: Sequence[bytes]) -> None:
        for number, message in enumerate(messages):
            name = f"{number}.ceiling"
            fd = os.open(name, _CREATE, 0o600, dir_fd=tmp)
            os.write(fd, message)
            os.fsync(fd)
            os.close(fd)
            os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=new)
            os.fsync(new)

    with _directories(box) as (tmp, new):
        yield deliver


@contextmanager
def six_calls_in_c(box: Path) -> Iterator[Deliver]:
    """The same, compiled."""
    library = _compiled()

    def deliver(messages: Sequence[bytes]) -> None:
        pointers = (ctypes.c_char_p * len(messages))(*messages)
        size = ctypes.c_size_t(len(messages[0]))
        error = library.six_calls(tmp, new, pointers, size, len(messages))
        if error:
            raise OSError(error, "six_calls")

    with _directories(box) as (tmp, new):
        yield deliver


@contextmanager
def group(box: Path, size: int) -> Iterator[Deliver]:
    """A group: write and close `size` files, one syncfs, `size` renames, one fsync of the directory."""

    def deliver(messages: Sequence[bytes]) -> None:
        for start in range(0, len(messages), size):
            names = [f"{number}.ceiling" for number in range(start, start + size)]
            for name, message in zip(names, messages[start : start + size], strict=True):
                fd = os.open(name, _CREATE, 0o600, dir_fd=tmp)
                os.write(fd, message)
                os.close(fd)
            syncfs(tmp)
            for name in names:
                os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=new)
            os.fsync(new)

    with _directories(box) as (tmp, new):
        yield deliver


@contextmanager
def _directories(box: Path) -> Iterator[tuple[int, int]]:
    tmp, new = (os.open(box / name, os.O_RDONLY | os.O_DIRECTORY) for name in ("tmp", "new"))
    try:
        yield tmp, new
    finally:
        os.close(tmp)
        os.close(new)


@cache
def _compiled() -> ctypes.CDLL:
    source = Path(__file__).with_suffix(".c")
    with tempfile.TemporaryDirectory(prefix="ceiling.") as place:
        library = f"{place}/ceiling.so"
        subprocess.run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source], check=True)
        return ctypes.CDLL(library)  # stays loaded after its file is gone
