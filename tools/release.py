"""Builds what a release consists of, from the last commit: `make release`.

python -m tools.release [DIRECTORY]

The sdist and the wheel go to DIRECTORY (dist/). What is not committed is not in them. All times in them
are that of the commit, so everyone who builds it with the same versions of hatchling and shtab gets the
same bytes; the SHA-256 of each is printed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def release(directory: Path) -> list[Path]:
    """Build the last commit into `directory`.

    Returns:
        The files.

    Raises:
        subprocess.CalledProcessError: git, the build or the check of its result failed.
    """
    with tempfile.TemporaryDirectory() as made:
        return build(Path(made), directory, committed(Path(made)))


def committed(tree: Path) -> str:
    """Copy the last commit into the directory `tree`. Returns its time, in seconds since 1970."""
    tree.mkdir(exist_ok=True)
    subprocess.run(["tar", "-x", "-C", tree], input=_git("archive", "HEAD"), check=True)
    return _git("log", "-1", "--format=%ct").decode().strip()


def build(tree: Path, directory: Path, epoch: str) -> list[Path]:
    """Build the sdist from `tree` and the wheel from the sdist, and check both.

    Args:
        tree: the source.
        directory: where they go.
        epoch: the time that all files in them get, in seconds since 1970.

    Returns:
        The files.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(tree)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "PYTHONPATH": ""}
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    made = sorted(directory.glob("maildir_safe-*"))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *made], check=True)
    return made


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *words], check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist"
    target.mkdir(exist_ok=True)
    for old in target.glob("maildir_safe-*"):
        old.unlink()
    for file in release(target):
        print(hashlib.sha256(file.read_bytes()).hexdigest(), file)
