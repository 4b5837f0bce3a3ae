"""Programs of Debian, unmodified, on a mount that answers each errno by which mounts refuse links.

Each delivers 20 messages: once without the shim, which is the control, and once with it. The table
in docs/howto/shim.md is what came out: `SHIM_TABLE=write` writes it anew.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shim_programs import NOBODY, PROGRAMS, Program, command, pop3
from shim_support import RUN, need, open_path

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

COUNT = 20
ERRORS = [
    errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS,
    errno.EMLINK, errno.EIO, errno.EREMOTEIO, errno.EINVAL,
]  # fmt: skip
DOCUMENT = Path(__file__).parents[2] / "docs/howto/shim.md"
TABLE: dict[tuple[str, int], tuple[int, bool]] = {}


def message(number: int) -> bytes:
    return b"From: a@example.org\nTo: b@example.org\nSubject: message %d\n\nBody %d of %s\n" % (
        number, number, b"x" * number * 7,
    )  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Iterator[tuple[FaultMount, Path]]:
    files = tmp_path / "files"
    (files / "in").mkdir(parents=True)
    for number in range(1, COUNT + 1):
        (files / f"in/{number}").write_bytes(message(number))
    backing = tmp_path / "backing"
    for part in ("tmp", "new", "cur"):
        (backing / "box" / part).mkdir(parents=True)
    for path in (
        files,
        files / "in",
        backing,
        backing / "box",
        *(backing / "box" / p for p in ("tmp", "new", "cur")),
    ):
        path.chmod(0o777)
    for number in range(1, COUNT + 1):
        (files / f"in/{number}").chmod(0o644)
    open_path(files / "in")
    with FaultMount(backing) as mount:
        open_path(mount.path / "box")
        yield mount, files


def deliver(
    program: Program, mount: FaultMount, files: Path, shim: bool, options: tuple[str, ...] = ()
) -> int:
    """Run it; its exit code."""
    box = mount.path / "box"
    with pop3([message(number) for number in range(1, COUNT + 1)]) as port:
        script = files / "script"
        script.write_text(f"cd {files}\n{program.script(box, files, port)}\n")
        for path in files.iterdir():
            os.chown(path, 0 if program.root else NOBODY, 0 if program.root else NOBODY)
        words = [*RUN, *options, "--"] if shim else []
        env = {
            "PATH": os.environ["PATH"] + ":/usr/sbin",
            "HOME": str(files),
            "LOGNAME": "nobody",
            "USER": "nobody",
        }
        done = subprocess.run(
            [*words, *command(program, script)], env=env, capture_output=True, timeout=120, check=False
        )
    return done.returncode


def delivered(mount: FaultMount) -> dict[int, int]:
    """How many whole copies there are of each message; -1 counts what is none of them."""
    found: dict[int, int] = {}
    for part in ("new", "cur"):
        for path in (mount.backing / "box" / part).iterdir():
            text = path.read_bytes().replace(b"\r\n", b"\n")
            number = int((re.search(rb"^Subject: message (\d+)$", text, re.MULTILINE) or [b"", b"-1"])[1])
            whole = number > 0 and text.rstrip(b"\n").endswith(
                message(number).split(b"\n\n", 1)[1].rstrip(b"\n")
            )
            found[number if whole else -1] = found.get(number if whole else -1, 0) + 1
    return found


ONCE = dict.fromkeys(range(1, COUNT + 1), 1)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name.replace(" ", "-"))
def test_program(program: Program, error: int, room: tuple[FaultMount, Path]) -> None:
    need(program.command)
    mount, files = room
    mount.inject("link", error, name="box/*", times=None)
    code = deliver(program, mount, files, shim=False)
    plain = delivered(mount)
    TABLE[program.name, error] = (sum(plain.values()), code == 0)
    for part in ("tmp", "new", "cur"):
        for path in (mount.backing / "box" / part).iterdir():
            path.unlink()
    for name in ("uidls", "mbox"):
        (files / name).unlink(missing_ok=True)
    before = len(mount.fired("link"))
    code = deliver(program, mount, files, shim=True)
    assert delivered(mount) == ONCE
    assert code == 0
    assert [path.name for path in (mount.backing / "box/tmp").iterdir()] == []
    if error != errno.ENOSYS:  # after which the kernel asks FUSE no more, and says EPERM by itself
        assert len(mount.fired("link")) > before, "the program never linked: this shows nothing"


def table() -> str:
    """The table program x errno: what happens without the shim."""
    names = [errno.errorcode[error] for error in ERRORS]
    lines = ["| program | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for program in PROGRAMS:
        cells = []
        for error in ERRORS:
            count, success = TABLE[program.name, error]
            lost = " **exit 0**" if success and count < COUNT else ""
            cells.append(f"{count}{lost}")
        lines.append(f"| {program.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_docs(record_property: Callable[[str, object], None]) -> None:
    if len(TABLE) < len(PROGRAMS) * len(ERRORS):
        pytest.skip("only after all of the above")
    record_property("note", f"delivered of {COUNT} without the shim; with it always {COUNT}:\n{table()}")
    begin, end = "<!-- table: programs -->\n", "<!-- end -->"
    text = DOCUMENT.read_text()
    before, rest = text.split(begin)
    shown, after = rest.split(end, 1)
    if os.environ.get("SHIM_TABLE") == "write":
        DOCUMENT.write_text(before + begin + table() + end + after)
    else:
        assert shown == table()
