"""Our programs in C, and a command that runs them where links are refused."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = [sys.executable, "-m", "maildir_safe", "run"]
MESSAGE = b"From: a@example.org\nTo: b@example.org\nSubject: one message\n\nThe body.\n"

WAYS = {
    "dynamic": ["gcc"],
    "static": ["gcc", "-static"],
    "i386": ["gcc", "-m32", "-static"],
    "musl": ["musl-gcc"],
    "musl-static": ["musl-gcc", "-static"],
}
"""How our programs can be built: the compiler and its options."""

Done = subprocess.CompletedProcess[bytes]


def build(directory: Path, how: str) -> str:
    """Build programs.c, one of `WAYS`; skip the test where there is no compiler for it."""
    compiler, *flags = WAYS[how]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    out = directory / "programs"
    command = [compiler, "-O1", "-Wall", "-Werror", *flags, "-o", str(out)]
    command += [str(HERE / "programs.c"), "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and how != "dynamic":
        pytest.skip(f"cannot build {how} programs here: {done.stderr.splitlines()[-1:]}")
    assert done.returncode == 0, done.stderr
    directory.chmod(0o755)
    return str(out)


def refused(error: int, *words: str, options: tuple[str, ...] = (), shim: bool = True) -> Done:
    """Run a command under the shim, where every link of the supervisor is refused with `error` (0: none)."""
    shimmed = [*RUN, *options, "--"] if shim else []
    command = [sys.executable, str(HERE / "refuse.py"), str(error), *shimmed, *words]
    return subprocess.run(command, input=MESSAGE, capture_output=True, timeout=240, check=False)


def names_of(error: int) -> str:
    return errno.errorcode[error]


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
