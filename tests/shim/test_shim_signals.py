"""A program under a shower of SIGALRM: what was done is reported done, once, whatever interrupts it."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from shim_cases import HERE, MESSAGE, listing

COUNT = 150
# the launcher itself, to switch off what Linux 5.19 and later do against interruptions
LAUNCH = """
import os, sys
from maildir_safe._shim.launch import Launcher
from maildir_safe._shim.pairs import Pairs
from maildir_safe._shim.report import Report
killable = sys.argv[1] == "killable"
status = Launcher(Pairs(), Report(), durable=sys.argv[2] == "durable", killable=killable).run(sys.argv[3:])
os._exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("usec", [150, 700])
@pytest.mark.parametrize("durable", ["plain", "durable"])
@pytest.mark.parametrize("restart", [0, 1], ids=["eintr", "sa-restart"])
@pytest.mark.parametrize("how", ["killable", "interruptible"])
def test_shower(how: str, restart: int, durable: str, usec: int, dynamic: str, box: Path) -> None:
    refuse = [sys.executable, str(HERE / "refuse.py"), str(errno.EPERM)]
    program = [dynamic, "shower", str(box), str(COUNT), str(restart), str(usec)]
    done = subprocess.run(
        [*refuse, sys.executable, "-c", LAUNCH, how, durable, *program],
        input=MESSAGE, capture_output=True, timeout=240, check=False,
    )  # fmt: skip
    if how == "killable":
        assert (done.returncode, done.stderr) == (0, b"")
        assert int(done.stdout.split()[0]) == COUNT
    else:  # before Linux 5.19 an answer may be lost on its way: told of an unlink, it was a ghost's only one
        assert all(line.startswith(b"unlink ") for line in done.stderr.splitlines()), done.stderr
    assert len(listing(box / "new")) == COUNT
    assert listing(box / "tmp") == []
