"""What delivery programs do on a mount that misbehaves: ours, and others as controls.

The others fail as docs/development/measurements.md, "Other programs on errors", has it: links
refused, replies lost, errors at close.

Each program gets one message through a mount with one fault, and, as an MTA would do, the same
message again if it reported failure. What counts is the exit code and how many copies there are
in the end: 1 is right, 0 was never delivered, 2 is a duplicate.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

MESSAGE = b"From: a@example.org\nTo: b@example.org\nSubject: one message\n\nThe body.\n"
NOBODY = 65534
STDLIB = "import mailbox, sys; mailbox.Maildir(sys.argv[1]).add(sys.stdin.buffer)"


def _maildrop_filter(box: Path) -> str:
    script = box.parent / "maildroprc"
    script.write_text(f'to "{box}/"\n')
    script.chmod(0o600)
    return str(script)


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "ours": lambda box: [sys.executable, "-m", "maildir_safe", "deliver", str(box)],
    "stdlib": lambda box: [sys.executable, "-c", STDLIB, str(box)],
    "safecat": lambda box: ["safecat", f"{box}/tmp", f"{box}/new"],
    "maildrop": lambda box: ["maildrop", _maildrop_filter(box)],
    "getmail": lambda box: [  # it refuses to run as root
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *("getmail_maildir", f"{box}/"),
    ],
    "procmail": lambda box: ["procmail", "-m", f"DEFAULT={box}/", f"ORGMAIL={box.parent}/mbox", "/dev/null"],
}
PROGRAM = {"ours": sys.executable, "stdlib": sys.executable, "getmail": "getmail_maildir"}

NO_LINK = ("link", errno.EXDEV, False, None)
LINK_REPLY_LOST = ("link", errno.EIO, True, 1)
RENAME_REPLY_LOST = ("rename", errno.EIO, True, 1)
CLOSE_FAILS = ("close", errno.EIO, False, 1)
FSYNC_FAILS = ("fsync", errno.EIO, False, 1)

# program, fault, whether the first try reports success, copies in the end, files left in tmp/
CASES = [
    ("ours", RENAME_REPLY_LOST, True, 1, 0),
    ("ours", FSYNC_FAILS, True, 1, 0),  # written anew
    ("ours", CLOSE_FAILS, False, 1, 0),
    ("stdlib", NO_LINK, False, 0, 0),
    ("safecat", NO_LINK, False, 0, 0),
    ("getmail", NO_LINK, False, 0, 0),
    ("maildrop", NO_LINK, True, 1, 0),
    ("procmail", NO_LINK, True, 1, 0),
    ("maildrop", ("link", errno.EPERM, False, None), False, 0, 0),
    ("stdlib", LINK_REPLY_LOST, False, 2, 0),
    ("safecat", LINK_REPLY_LOST, False, 2, 0),
    ("maildrop", LINK_REPLY_LOST, False, 2, 0),
    ("getmail", LINK_REPLY_LOST, False, 2, 0),
    ("procmail", LINK_REPLY_LOST, True, 1, 0),
    ("stdlib", FSYNC_FAILS, False, 1, 1),
    ("safecat", FSYNC_FAILS, False, 1, 0),
    ("maildrop", FSYNC_FAILS, False, 1, 0),
    ("stdlib", CLOSE_FAILS, False, 1, 1),
    ("safecat", CLOSE_FAILS, False, 1, 0),
    ("maildrop", CLOSE_FAILS, True, 1, 0),  # believes in a file whose last write may have failed
]


def _case_id(value: object) -> str | None:
    if isinstance(value, tuple):
        operation, error, executed, _ = value
        return f"{operation}-{errno.errorcode[error]}{'-but-done' if executed else ''}"
    return value if isinstance(value, str) else None


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FaultMount]:
    backing = tmp_path / "backing"
    for directory in (*(backing / "box" / part for part in ("tmp", "new", "cur")), backing / "box", backing):
        directory.mkdir(parents=True, exist_ok=True)
        os.chown(directory, 0, NOBODY)
        directory.chmod(0o770)
    for parent in backing.parents:  # pytest keeps its directories to their owner
        parent.chmod(parent.stat().st_mode | 0o011)
    with FaultMount(backing) as mount:
        yield mount


def _deliver(program: str, box: Path) -> bool:
    """Whether the program says that it has delivered."""
    done = subprocess.run(COMMANDS[program](box), input=MESSAGE, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def _need(program: str) -> None:
    if shutil.which(PROGRAM.get(program, program)) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")


@pytest.mark.parametrize("program", COMMANDS)
def test_each_delivers_one_message_where_nothing_fails(program: str, mount: FaultMount) -> None:
    _need(program)
    assert _deliver(program, mount.path / "box")
    (name,) = os.listdir(mount.backing / "box/new")
    assert MESSAGE.split(b"\n", 1)[1] in (mount.backing / "box/new" / name).read_bytes()


@pytest.mark.parametrize(("program", "fault", "succeeds", "copies", "leftovers"), CASES, ids=_case_id)
def test_what_becomes_of_the_message(
    program: str,
    fault: tuple[str, int, bool, int | None],
    succeeds: bool,
    copies: int,
    leftovers: int,
    mount: FaultMount,
) -> None:
    _need(program)
    operation, error, executed, times = fault
    mount.inject(operation, error, executed=executed, times=times, name="box/*")
    assert _deliver(program, mount.path / "box") is succeeds
    assert mount.fired(operation), "the program never ran into the fault"
    if not succeeds:
        assert _deliver(program, mount.path / "box") is (copies > 0)
    assert len(os.listdir(mount.backing / "box/new")) == copies
    # a seal of ours is an empty directory there, which `clean` removes
    assert sum(path.is_file() for path in (mount.backing / "box/tmp").iterdir()) == leftovers


def test_ours_asks_for_no_link(mount: FaultMount) -> None:
    mount.inject("link", errno.EXDEV, times=None)
    assert _deliver("ours", mount.path / "box")
    assert len(os.listdir(mount.backing / "box/new")) == 1
    assert mount.fired() == []
