"""CPython's tests of `mailbox.Maildir` pass on the drop-in: with this interpreter's, and others'."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TESTS = {"3.11": 64, "3.12": 64, "3.13": 71}  # how many there are, so that none is lost unseen


def interpreters() -> Iterator[str]:
    """Those on this machine that are not the one that runs this, newest of each version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in VERSIONS:
        if version != "{}.{}".format(*sys.version_info):
            built = sorted(str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python"))
            found = built[-1] if built else shutil.which(f"python{version}")
            if found:
                yield found


def has_the_tests(interpreter: str) -> bool:
    return (
        subprocess.run([interpreter, "-c", "import test.test_mailbox"], capture_output=True).returncode == 0
    )


def run_them(interpreter: str) -> str:
    """Run CPython's tests by `unittest`; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [interpreter, "-W", "error::ResourceWarning", "-m", "unittest", "cpython_mailbox"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def check(interpreter: str, note: Callable[[str, object], None]) -> None:
    said = run_them(interpreter)
    version = subprocess.run([interpreter, "-V"], capture_output=True, text=True).stdout.split()[1]
    ran = int(re.findall(r"Ran (\d+) tests", said)[0])
    note("note", f"CPython {version}: {ran} of its tests of mailbox.Maildir pass on the drop-in")
    assert ran >= TESTS.get(version.rpartition(".")[0], TESTS["3.13"])
    assert "skipped" not in said


def test_this_interpreters(record_property: Callable[[str, object], None]) -> None:
    if not has_the_tests(sys.executable):
        text = f"{sys.executable} has no test.test_mailbox (Debian leaves it out): use a Python that has it"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(text)
    check(sys.executable, record_property)


@pytest.mark.parametrize("interpreter", [*interpreters()])
def test_other_interpreters(interpreter: str, record_property: Callable[[str, object], None]) -> None:
    if not has_the_tests(interpreter):
        pytest.skip(f"{interpreter} has no test.test_mailbox")
    check(interpreter, record_property)
