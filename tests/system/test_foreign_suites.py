"""Other people's test suites, unchanged, with our parts in place of what they test.

aiosmtpd's, against our sessions; mail-deduplicate's and afew's, with our drop-in for `mailbox.Maildir`.
Every test that fails on ours is in a table with its reason. Another failure fails, and so does a table that
says too much.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_aiosmtpd import DIFFERENT

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Note = Callable[[str, object], None]


def run(*words: str | Path, cwd: Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def environment_with(tmp_path: Path, *packages: str, python: str = sys.executable, options: str = "") -> Path:
    """The directory of the commands of a new environment."""
    run(python, "-m", "venv", *options.split(), tmp_path / "v", cwd=tmp_path)
    run(tmp_path / "v/bin/pip", "install", "-q", "pytest", "pytest-timeout", *packages, cwd=tmp_path)
    return tmp_path / "v/bin"


def source_of(tmp_path: Path, name: str, version: str) -> Path:
    """The unpacked source distribution."""
    wanted = ["--no-deps", "--no-binary", name, f"{name}=={version}"]
    run(sys.executable, "-m", "pip", "download", "-q", *wanted, cwd=tmp_path)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    return tmp_path / archive.name.removesuffix(".tar.gz")


def use_ours_everywhere(commands: Path) -> None:
    """Each process of the environment begins with our drop-in in the place of `mailbox.Maildir`."""
    [packages] = commands.parent.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(f"{ROOT}\n{HERE}\nimport mailbox_shim\n")


def results_of(commands: Path, suite: Path, *words: str | Path, plugins: list[str]) -> dict[str, str]:
    """Run a suite; what became of each test by its name."""
    results = commands.parent / "results.json"
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", suite, "--timeout", "60"]
    loaded = [word for name in ["foreign_results", *plugins] for word in ("-p", name)]
    subprocess.run(
        [commands / "python", "-m", "pytest", *options, *loaded, *words],
        cwd=suite,
        capture_output=True,
        env={
            **os.environ,
            "FOREIGN_RESULTS": str(results),
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{HERE}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        check=False,
    )
    found: dict[str, str] = json.loads(results.read_text())
    return found


def differences(results: dict[str, str], expected: set[str]) -> dict[str, str]:
    """The tests that failed or were skipped and should not be, or that pass though the table has them."""
    failed = {name: text for name, text in results.items() if text != "passed"}
    unexpected = {name: text for name, text in failed.items() if name not in expected}
    return unexpected | dict.fromkeys(expected - failed.keys(), "is in the table, but passes or is not there")


def test_aiosmtpd(tmp_path: Path, record_property: Note) -> None:
    commands = environment_with(tmp_path, "setuptools<81", "pytest-mock")
    source = source_of(tmp_path, "aiosmtpd", "1.4.6")
    run(commands / "pip", "install", "-q", source, cwd=tmp_path)
    tests = source / "aiosmtpd/tests"
    files = [tests / f"test_{name}.py" for name in ("smtp", "lmtp", "smtpsmuggling", "starttls", "smtps")]
    results = results_of(commands, source, *files, plugins=["aiosmtpd_shim"])
    asked = {name: text for name, text in results.items() if "asks no server of ours" not in text}
    explained = [test for tests in DIFFERENT.values() for test in tests]
    assert len(explained) == len(set(explained))
    found = differences(asked, set(explained))
    assert sorted(found) == [], found
    record_property(
        "note", f"aiosmtpd 1.4.6: {len(asked) - len(explained)} of {len(asked)} of its tests pass"
    )


def test_mail_deduplicate(tmp_path: Path, record_property: Note) -> None:
    packages = ("boltons>=25", "click-extra[pytest]>=9.4.1", "extra-platforms[pytest]>=13.4", "whenever")
    commands = environment_with(tmp_path, *packages)
    source = source_of(tmp_path, "mail-deduplicate", "9.4.0")
    run(commands / "pip", "install", "-q", source, cwd=tmp_path)
    use_ours_everywhere(commands)
    results = results_of(commands, source, source / "tests", plugins=["no:xdist", "mailbox_shim"])
    assert len(results) >= 489
    assert differences(results, set()) == {}
    record_property("note", f"mail-deduplicate 9.4.0: all {len(results)} of its tests pass on the drop-in")


def test_afew(tmp_path: Path, record_property: Note) -> None:
    """With Debian's interpreter, whose notmuch2 it needs."""
    commands = environment_with(
        tmp_path, "freezegun", python="/usr/bin/python3", options="--system-site-packages"
    )
    source = source_of(tmp_path, "afew", "4.0.2")
    run(commands / "pip", "install", "-q", source, cwd=tmp_path)
    use_ours_everywhere(commands)
    results = results_of(commands, source, source / "afew/tests", plugins=["mailbox_shim"])
    assert len(results) >= 13
    assert differences(results, set()) == {}
    record_property("note", f"afew 4.0.2: all {len(results)} of its tests pass on the drop-in")
