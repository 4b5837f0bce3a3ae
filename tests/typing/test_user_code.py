"""A user's program is checked as strictly as ours, by both type checkers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import maildir_safe

SAMPLE = Path(__file__).with_name("user_code.py")


def test_mypy_strict_accepts_a_users_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(SAMPLE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_pyright_accepts_a_users_program(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    root = Path(maildir_safe.__file__).parents[1]
    config.write_text(
        json.dumps({"include": [str(SAMPLE)], "extraPaths": [str(root)], "typeCheckingMode": "strict"})
    )
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--project", str(config), "--outputjson"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    assert [found["message"] for found in report["generalDiagnostics"] if found["severity"] == "error"] == []


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert sorted(maildir_safe.__all__) == dir(maildir_safe)
    for name in maildir_safe.__all__:
        if name != "__version__":
            assert getattr(maildir_safe, name).__doc__, name
    scope: dict[str, object] = {}
    exec("from maildir_safe import *", scope)
    assert set(maildir_safe.__all__) <= set(scope)
