"""What the tests of the shim as root share: our programs in C, other users, and who runs what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHIM = Path(__file__).parents[1] / "shim"
RUN = [sys.executable, "-m", "maildir_safe", "run"]
REFUSE = [sys.executable, str(SHIM / "refuse.py")]
MESSAGE = b"From: a@example.org\nTo: b@example.org\nSubject: one message\n\nThe body.\n"
ANN, BOB = 4321, 4322
"""Two users, who need no entry in /etc/passwd."""

Done = subprocess.CompletedProcess[bytes]


def need(program: str) -> None:
    """Skip without a program, but fail in CI."""
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")


def build(directory: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Our programs of tests/shim/programs.c, readable by all."""
    need(compiler)
    out = directory / "programs"
    source = str(SHIM / "programs.c")
    subprocess.run([compiler, "-O1", *flags, "-o", str(out), source, "-lpthread"], check=True)
    open_path(out)
    out.chmod(0o755)
    return out


def open_path(path: Path) -> None:
    """pytest keeps its directories to their owner: let other users pass."""
    for parent in path.parents:
        if parent.stat().st_uid == os.getuid() and parent.stat().st_mode & 0o011 != 0o011:
            parent.chmod(parent.stat().st_mode | 0o011)


def as_user(uid: int, *command: str, groups: tuple[int, ...] = ()) -> list[str]:
    """The command as another user."""
    more = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", *more, "--", *command]


def shimmed(*command: str, error: int = 0, options: tuple[str, ...] = (), text: bytes = MESSAGE) -> Done:
    """Run a command under a supervisor of root's, whose links (and whose helpers') fail with `error`."""
    refuse = [*REFUSE, str(error)] if error else []
    words = [*refuse, *RUN, *options, "--", *command]
    return subprocess.run(words, input=text, capture_output=True, timeout=120, check=False)


def maildir(path: Path, owner: int = 0, mode: int = 0o700) -> Path:
    """An empty Maildir of somebody's."""
    for directory in (path, *(path / part for part in ("tmp", "new", "cur"))):
        directory.mkdir(parents=True)
        os.chown(directory, owner, owner)
        directory.chmod(mode)
    open_path(path)
    return path


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
