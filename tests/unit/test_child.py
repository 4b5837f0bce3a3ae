"""Child processes of ours run our code, and none that lies in the current directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from maildir_safe._check.torture import torture
from maildir_safe._child import DIRECTORY, command, running


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory whose modules leave a mark when they are imported."""
    mark = tmp_path / "it ran"
    for name in ("random.py", "hashlib.py", "runpy.py", "maildir_safe.py"):
        (tmp_path / name).write_text(f"open({str(mark)!r}, 'w'); raise SystemExit('trapped')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return mark


def test_torture_runs_nothing_from_the_current_directory(trap: Path) -> None:
    os.mkdir("mount")
    report = torture("mount", 2, 2, seed=1, progress=lambda share, words: None)  # noqa: ARG005
    assert report.passed, report.as_dict()
    assert not trap.exists()


def test_a_module_gets_its_arguments_as_they_are(trap: Path) -> None:
    words = ["a b", "--flag", "é"]
    done = subprocess.run(
        running("print(sys.argv[1:])", *words), cwd=DIRECTORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{words}\n"
    done = subprocess.run(
        command("maildir_safe", "--version"), cwd=DIRECTORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("maildir-safe ")
    assert not trap.exists()
