"""Runs the tests as `make test`, `make test-mounts` and `make prove` want them, and says what is left out.

python -m tests.run              all that this user can run here
python -m tests.run --mounts     on real mounts, with real MTAs and mail readers; root, Debian
python -m tests.run --prove      the long run of the explorer, the state machines, the replayed disks
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PROVE_SECONDS = 1800
PYTEST = [sys.executable, "-m", "pytest"]


def spread(processes: int) -> list[str]:
    """Options for so many processes: the tests of a file in one, in the order of tests/conftest.py."""
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]


def plain() -> int:
    """What needs no root."""
    status = subprocess.call([*PYTEST, "-q", *spread(2), "-m", "not mounts"])
    print(
        "\nleft out: the tests on real mounts, with real MTAs and mail readers: they need root and Debian"
        " packages (make test-mounts);\n          the half-hour runs of the proofs (make prove)"
    )
    return status


def on_mounts() -> int:
    """What needs root: three processes, each with mounts of its own, since most of it waits for leases."""
    if os.geteuid() != 0:
        print(
            "make test-mounts mounts file systems and installs Debian packages: run it as root",
            file=sys.stderr,
        )
        return 1
    install()
    return subprocess.call([*PYTEST, "-q", *spread(3), "-m", "mounts", "--durations=15"])


def install() -> None:
    """Install what the tests of real mounts need, if it is not there."""
    sys.path.insert(0, str(HERE / "system"))
    from mounts import EVERY

    from benchmarks.mounts import KINDS, packages

    wanted = {line.split("#")[0].strip() for line in (HERE / "system/packages.txt").read_text().splitlines()}
    wanted = (wanted | set(packages(KINDS[name] for name in EVERY))) - {""}
    if shutil.which("npm") is None:  # where Node.js is not Debian's, its npm conflicts with Debian's
        wanted |= {"nodejs", "npm"}
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *sorted(wanted)]
    there = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    lacking = sorted(wanted - {line.split()[0] for line in there if line.endswith(" installed")})
    if not lacking:
        return
    print("installing", *lacking)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "-q", "update"], env=env, check=True, stdout=subprocess.DEVNULL)
    command = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "install", *lacking]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def prove() -> int:
    """The proofs with a larger budget, then other random histories for the rest of the half hour.

    What was explored is printed at the end of each run.
    """
    until = time.monotonic() + PROVE_SECONDS
    env = {**os.environ, "PROVE": "long", "MAILDIR_SAFE_CRASH_MESSAGES": "100"}
    folders = [str(HERE / "crash"), str(HERE / "model")]
    status = subprocess.call([*PYTEST, "-q", "--timeout", "3600", *spread(2), *folders], env=env)
    random = [str(HERE / "model" / name) for name in ("test_maildir.py", "test_queue_random.py")]
    while not status and time.monotonic() < until:
        status = subprocess.call([*PYTEST, "-q", "--timeout", "3600", "-n", "2", *random], env=env)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--mounts", action="store_true")
    which.add_argument("--prove", action="store_true")
    args = parser.parse_args()
    os.chdir(HERE.parent)
    if args.mounts:
        return on_mounts()
    return prove() if args.prove else plain()


if __name__ == "__main__":
    sys.exit(main())
