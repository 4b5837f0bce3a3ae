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

Done = subprocess.CompletedProcess[bytes]


def build(directory: Path, how: str) -> str:
    """Build programs.c; skip the test where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    out = directory / "programs"
    flags = {"static": ["-static"], "i386": ["-m32", "-static"], "dynamic": []}[how]
    command = [
        "gcc",
        "-O1",
        "-Wall",
        "-Werror",
        *flags,
        "-o",
        str(out),
        str(HERE / "programs.c"),
        "-lpthread",
    ]
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
