"""What a kind needs of the machine: root, a kernel that knows it, packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.mounts.guest import TOOLS
from benchmarks.mounts.kind import Kind


def packages(kinds: Iterable[Kind]) -> list[str]:
    """The Debian packages that this machine must have for some kinds, each once, sorted.

    For kinds of the emulated guest: what runs the guest, which has their packages on its own disk.
    """
    return sorted({package for kind in kinds for package in (TOOLS if kind.guest else kind.packages)})


def missing(kind: Kind) -> str:
    """What this machine lacks for a kind, in words; ``""`` if nothing is known to be missing."""
    if os.getuid():
        return "needs root"
    wanted = [package for package in kind.packages if not _installed(package)]
    wanted += [package for package in kind.python if not environment(package).is_dir()]
    return f"needs the packages {' '.join(wanted)}" if wanted else ""


def install(kinds: Iterable[Kind]) -> None:
    """Install what is missing, without questions.

    Raises:
        subprocess.CalledProcessError: apt-get or pip failed; it has said why.
    """
    kinds = list(kinds)
    wanted = [package for package in packages(kinds) if not _installed(package)]
    if wanted:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *wanted]):
            subprocess.run(["apt-get", "-q", *command], check=True, env=quiet)
    for package in {package for kind in kinds for package in kind.python}:
        _make(environment(package), package)


def environment(package: str) -> Path:
    """Where the virtual environment of a Python package is, or would be: Debian lacks these packages."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "maildir-safe" / "".join(job for job in package if job.isalnum())


def _make(place: Path, package: str) -> None:
    if place.is_dir():
        return
    try:
        subprocess.run(["python3", "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "-q", package], check=True)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def kernel_knows(fstype: str) -> bool:
    """Whether the kernel has a file system, after an attempt to load its module."""
    if fstype not in _filesystems():
        try:
            subprocess.run(["modprobe", "-q", f"fs-{fstype}"], check=False)
        except FileNotFoundError:
            pass  # no module tools: what is built in is all there is
    return fstype in _filesystems()


def _filesystems() -> set[str]:
    return {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}


def _installed(package: str) -> bool:
    command = ["dpkg-query", "-Wf${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"
