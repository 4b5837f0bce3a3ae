"""Builds the Debian package of the last commit: `make deb`, on Debian 12 or later.

python -m tools.deb [DIRECTORY]

The package goes to DIRECTORY (dist/). What is not committed is not in it. All times in it are that of the
commit, so two builds with the same versions of Debian's tools are the same bytes; its SHA-256 is printed.
It is built by debhelper and depends on Debian's own Python packages: nothing is downloaded, and the security
updates of those packages are Debian's. What it needs is in Build-Depends of packaging/debian/control.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

from maildir_safe import __version__
from tools.release import ROOT, committed


def deb(directory: Path) -> Path:
    """Build the package of the last commit into `directory`.

    Returns:
        The package.

    Raises:
        subprocess.CalledProcessError: git or the build failed, or a Debian package is missing.
    """
    with tempfile.TemporaryDirectory() as made:
        tree = Path(made) / f"maildir-safe-{__version__}"
        return build(tree, directory, committed(tree))


def build(tree: Path, directory: Path, epoch: str) -> Path:
    """Build the package of a tree, which gets a directory debian/ and becomes full of what debhelper leaves.

    Args:
        tree: the source, alone in its directory.
        directory: where the package goes.
        epoch: the time that all files in it get, in seconds since 1970.

    Returns:
        The package.
    """
    shutil.copytree(tree / "packaging/debian", tree / "debian")
    (tree / "debian/changelog").write_text(_changelog(epoch))
    # Debian's Python, not that of a virtual environment or of pyenv
    env = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    env |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": epoch}
    command = ["dpkg-buildpackage", "--build=binary", "--no-sign"]
    before = os.umask(0o022)
    try:
        subprocess.run(
            command, cwd=tree, env=env, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    finally:
        os.umask(before)
    (package,) = tree.parent.glob("maildir-safe_*.deb")
    return Path(shutil.copy(package, directory / package.name))


def _changelog(epoch: str) -> str:
    return (
        f"maildir-safe ({__version__}) unstable; urgency=medium\n\n"
        "  * See /usr/share/doc/maildir-safe/CHANGELOG.md.gz\n\n"
        f" -- The maildir_safe developers <maildir-safe@localhost>  {formatdate(int(epoch))}\n"
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist"
    target.mkdir(exist_ok=True)
    try:
        file = deb(target)
    except subprocess.CalledProcessError as error:
        sys.stderr.buffer.write(error.stdout or b"")
        sys.exit(f"{error.cmd[0]}: failed")
    print(hashlib.sha256(file.read_bytes()).hexdigest(), file)
