"""A lock must never become a rename: the lock programs of Debian, under the shim, with and without links."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest
from shim_support import RUN, build, listing, need

from maildir_safe.testing.faultmount import FaultMount

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(1000)]

ROUNDS = 500  # of each of two contenders
# program, how it takes the lock F.lock or gives up at once, and how it lets it go
LOCKS = {
    "dotlockfile": ("dotlockfile -l -r 0 {0}.lock", "dotlockfile -u {0}.lock"),
    "lockfile": ("lockfile -r 0 {0}.lock 2>/dev/null", "rm -f {0}.lock"),
    "mutt_dotlock": ("mutt_dotlock -r 0 {0}", "mutt_dotlock -u -r 0 {0}"),
}
CONTENDER = """
i=0
while [ $i -lt {rounds} ]; do
    if {take}; then
        mkdir {file}.holder || exit 99
        rmdir {file}.holder
        {release}
        i=$((i+1))
    fi
done
"""


@pytest.mark.parametrize("program", LOCKS)
def test_two_contenders(program: str, tmp_path: Path) -> None:
    """Where links work they lock as before: 1,000 rounds, never both."""
    need(program)
    file = tmp_path / "box"
    file.touch()
    take, release = (text.format(file) for text in LOCKS[program])
    script = tmp_path / "contender"
    script.write_text(CONTENDER.format(rounds=ROUNDS, take=take, release=release, file=file))
    both = f"sh {script} & p=$!; sh {script}; a=$?; wait $p && exit $a"
    done = subprocess.run([*RUN, "--", "sh", "-c", both], capture_output=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-300:]


def test_maildrops_lockmail(tmp_path: Path) -> None:
    need("lockmail.maildrop")
    file = tmp_path / "box"
    file.touch()
    one = f"lockmail.maildrop {file} sh -c 'mkdir {file}.holder && rmdir {file}.holder' || exit 99"
    loop = f"i=0; while [ $i -lt 50 ]; do {one}; i=$((i+1)); done"
    (tmp_path / "loop").write_text(loop)
    both = f"sh {tmp_path}/loop & p=$!; sh {tmp_path}/loop; a=$?; wait $p && exit $a"
    done = subprocess.run([*RUN, "--", "sh", "-c", both], capture_output=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-300:]


@pytest.mark.parametrize("shim", [False, True], ids=["control", "shim"])
@pytest.mark.parametrize("program", LOCKS)
def test_without_links(program: str, shim: bool, tmp_path: Path) -> None:
    """Where links are refused they do what they did without the shim, and leave the same names."""
    need(program)
    (tmp_path / "backing").mkdir()
    with FaultMount(tmp_path / "backing") as mount:
        mount.inject("link", errno.EPERM, times=None)
        (mount.path / "box").touch()
        take = LOCKS[program][0].format(mount.path / "box")
        results = [
            subprocess.run(
                [*words, "sh", "-c", take], capture_output=True, timeout=60, check=False
            ).returncode
            for words in ([], [*RUN, "--pair", "*:tmp", "--trace", "--"])[int(shim) :][:1]
        ]
        _SEEN.setdefault(program, []).append((results, listing(mount.backing)))
        assert mount.fired("link") or program == "lockfile"
        assert mount.fired("rename") == []
    if len(_SEEN[program]) == 2:
        assert _SEEN[program][0] == _SEEN[program][1]


_SEEN: dict[str, list[object]] = {}


@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV, errno.EIO], ids=errno.errorcode.get)
def test_our_own_lock_without_links(error: int, tmp_path: Path) -> None:
    """By link() and nlink == 2, as Exim, masqmail and courier look: nobody ever has it."""
    program = str(build(tmp_path))
    (tmp_path / "backing").mkdir()
    with FaultMount(tmp_path / "backing") as mount:
        mount.inject("link", error, times=None)
        done = subprocess.run(
            [*RUN, "--", program, "lock", str(mount.path / "L"), "5"], timeout=60, check=False
        )
        assert done.returncode == 1
        assert mount.fired("link")
        assert listing(mount.backing) == []
