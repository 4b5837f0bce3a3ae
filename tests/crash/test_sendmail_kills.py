"""`sendmail` is killed at its system calls, one run for each: from execve to the end.

Exit code 0 means that the message is in the queue once. A process that was killed has put it there once,
whole, or not at all. It may be there without an answer: then the caller sends it again.

By default some of them, and all that change the spool. With PROVE=long all of them: some 800 runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from maildir_safe import Queue
from tests.spool_support import queued

LONG = os.environ.get("PROVE") == "long"
SCRIPT = "import sys; sys.argv[0] = 'sendmail'; from maildir_safe._cli import main; sys.exit(main())"
MESSAGE = b"From: ann@example.com\nTo: bob@example.com\nSubject: one\n\nThe body.\n"
RECIPIENTS = ("c@d", "e@elsewhere.example")
SENDMAIL = [sys.executable, "-c", SCRIPT, "-f", "a@b", *RECIPIENTS]
_BEFORE, _IN_SPOOL = 120, 8  # by default every so many of the calls before the spool is opened, and after

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which kills at a call")


@pytest.fixture(name="spool")
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "spool"
    Queue(path).close()
    config = tmp_path / "sendmail.toml"
    config.write_text(f'spool = "{path}"\ndomain = "here.example"\n')
    monkeypatch.setenv("MAILDIR_SAFE_SENDMAIL_CONFIG", str(config))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    return path


def under_strace(*options: str) -> int:
    """Run `sendmail`; its exit code, 137 if it was killed."""
    done = subprocess.run(["strace", *options, *SENDMAIL], input=MESSAGE, capture_output=True, check=False)
    return 137 if done.returncode == -9 else done.returncode


def calls_of_a_run(spool: Path, tmp_path: Path) -> list[tuple[str, int, bool]]:
    """Each system call by its name and its number among those of that name; and whether the spool is open."""
    trace = tmp_path / "trace"
    under_strace("-o", os.devnull)  # which writes the .pyc files
    assert under_strace("-o", str(trace)) == 0
    counts: Counter[str] = Counter()
    found, opened = [], False
    for line in trace.read_text(errors="replace").splitlines():
        name, bracket, _ = line.partition("(")
        if bracket and name.isidentifier():
            counts[name] += 1
            opened = opened or f'openat(AT_FDCWD, "{spool}", ' in line
            found.append((name, counts[name], opened))
    return found


@pytest.mark.timeout(3600)
def test_killed_at_each_call_it_is_queued_once_or_not(spool: Path, tmp_path: Path) -> None:
    calls = calls_of_a_run(spool, tmp_path)
    assert [name for name, _, _ in calls].count("renameat") == 1
    chosen = [one for at, one in enumerate(calls) if LONG or at % (_IN_SPOOL if one[2] else _BEFORE) == 0]
    chosen += [one for one in calls if one[0] in ("fsync", "renameat", "write", "mkdirat", "exit_group")]
    outcomes: Counter[str] = Counter()
    there = len(queued(spool))
    for name, number, _ in dict.fromkeys(chosen):
        code = under_strace("-o", os.devnull, "-e", f"inject={name}:signal=KILL:when={number}")
        after = queued(spool)
        new, there = len(after) - there, len(after)
        assert code in (0, 137), (name, number, code)
        assert new == 1 if code == 0 else new in (0, 1), (name, number, code, new)
        assert {recipients for _, recipients, _ in after} == {RECIPIENTS}
        assert all(text.endswith(b"\n\nThe body.\n") for _, _, text in after)
        outcomes["answered" if code == 0 else "queued, not answered" if new else "not queued"] += 1
    print(f"\n{len(calls)} system calls, killed at {outcomes.total()}: {dict(outcomes)}")
    assert outcomes["not queued"] >= 10
    assert outcomes["queued, not answered"] >= 1  # killed after the rename
