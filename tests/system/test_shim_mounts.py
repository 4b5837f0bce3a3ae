"""Unmodified programs under the shim on real mounts that refuse links; which, mounts.py tells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import CHOSEN, on_mounts
from shim_programs import PROGRAMS, Program, pop3
from shim_support import MESSAGE, RUN, build, listing, need

from benchmarks.mounts import Mount

COUNT = 20
MOUNTS = CHOSEN or ("sshfs-nolink", "encfs-paranoia", "exfat", "rclone-webdav", "davfs2", "s3fs")
"""What refuses links, each by its own errno; with $MOUNTS, those (afs and coda only in the guest)."""

# whoever mounts, root, may use them: fdm and getmail do not run as root
ROOTS = [program for program in PROGRAMS if program.name not in ("fdm", "getmail6")]

WITH_FLAGS = ("s-nail", "neomutt", "mutt")

FAILS = {("afs", "Python mailbox")}
"""Where the guest shows that the program delivers nothing without the shim."""


def message(number: int) -> bytes:
    return b"From: a@example.org\nTo: b@example.org\nSubject: message %d\n\nBody %d of %s\n" % (
        number, number, b"x" * number * 7,
    )  # fmt: skip


def deliver(program: Program, box: Path, files: Path, shim: bool) -> int:
    """Run it; its exit code."""
    shutil.rmtree(files, ignore_errors=True)
    (files / "in").mkdir(parents=True)
    for number in range(1, COUNT + 1):
        (files / f"in/{number}").write_bytes(message(number))
    for name in ("maildrop", "procmail"):  # set-group-ID, which FUSE lets into no mount of root's alone
        if shutil.which(name):
            shutil.copyfile(str(shutil.which(name)), files / name)
            (files / name).chmod(0o755)
    with pop3([message(number) for number in range(1, COUNT + 1)]) as port:
        (files / "script").write_text(f"cd {files}\n{program.script(box, files, port)}\n")
        env = {"PATH": f"{files}:{os.environ['PATH']}", "HOME": str(files), "LOGNAME": "root", "USER": "root"}
        words = [*RUN, "--"] if shim else []
        command = [*words, "sh", str(files / "script")]
        return subprocess.run(command, env=env, capture_output=True, timeout=280, check=False).returncode


def maildir(mount: Mount) -> Path:
    box = mount.folder() / "box"
    for part in ("tmp", "new", "cur"):
        (box / part).mkdir(parents=True)
    return box


def delivered(box: Path) -> dict[int, int]:
    """How many whole copies there are of each message; -1 counts what is none of them."""
    found: dict[int, int] = {}
    for path in (path for part in ("new", "cur") for path in (box / part).iterdir()):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        number = int((re.search(rb"^Subject: message (\d+)$", text, re.MULTILINE) or [b"", b"-1"])[1])
        whole = number > 0 and text.rstrip(b"\n").endswith(message(number).split(b"\n\n", 1)[1].rstrip(b"\n"))
        found[number if whole else -1] = found.get(number if whole else -1, 0) + 1
    return found


@on_mounts(*MOUNTS)
@pytest.mark.parametrize("program", ROOTS, ids=lambda program: program.name.replace(" ", "-"))
def test_program(
    program: Program, mount: Mount, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    need(program.command)
    if mount.kind.name == "exfat" and program.name in WITH_FLAGS:
        pytest.skip(f"{program.name} makes a name with a colon, which no file on FAT can have")
    plain = maildir(mount)
    code = deliver(program, plain, tmp_path / "files", shim=False)
    count = sum(delivered(plain).values())
    record_property(
        "note", f"{mount.kind.name}: {program.name} without the shim: {count}/{COUNT}, exit {code}"
    )
    if (mount.kind.name, program.name) in FAILS:
        assert count == 0
        assert code != 0
    box = maildir(mount)
    assert deliver(program, box, tmp_path / "files", shim=True) == 0
    assert delivered(box) == dict.fromkeys(range(1, COUNT + 1), 1)
    assert listing(box / "tmp") == []


@on_mounts(*MOUNTS)
def test_qmails_queue(mount: Mount, tmp_path: Path) -> None:
    program = str(build(tmp_path))
    queue = mount.folder()
    for part in ("pid", "intd", "todo", "mess", *(f"mess/{n}" for n in range(23))):
        (queue / part).mkdir()
    command = [
        *RUN,
        "--",
        "sh",
        "-c",
        f"for i in 1 2 3 4 5; do {program} queue {queue} < {tmp_path}/m || exit; done",
    ]
    (tmp_path / "m").write_bytes(MESSAGE)
    assert subprocess.run(command, timeout=250, check=False).returncode == 0
    numbers = listing(queue / "todo")
    assert len(numbers) == 5
    assert all((queue / f"mess/{int(n) % 23}/{n}").read_bytes() == MESSAGE for n in numbers)
    assert listing(queue / "pid") == listing(queue / "intd") == []
