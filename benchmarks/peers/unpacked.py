"""Debian's packages that cannot be installed beside Postfix: unpacked, and run as they lie there."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

_PATIENCE = 60.0  # seconds, for an archive that does not answer


@functools.cache
def unpacked(package: str) -> Path:
    """The tree of a package, until this process ends.

    Raises:
        FileNotFoundError: it cannot be downloaded.
    """
    place = Path(tempfile.mkdtemp(prefix=f"{package}."))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)  # servers drop their rights
    command = ["apt-get", "-q", "download", package]
    try:
        subprocess.run(command, cwd=place, capture_output=True, check=True, timeout=_PATIENCE)
        (found,) = place.glob("*.deb")
    except (subprocess.SubprocessError, ValueError) as error:
        raise FileNotFoundError(f"{package} cannot be downloaded: {error}") from error
    subprocess.run(["dpkg", "-x", found, place / "root"], check=True)
    return place / "root"
