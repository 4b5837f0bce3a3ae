"""The file that a health check puts into tmp/ for a moment: no reader shows it, what a crash left goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir, Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._health.trial import MARK
from maildir_safe._names import UniqueNames
from maildir_safe._web.app import application
from maildir_safe.mailbox import Maildir as DropIn

OLD = time.time() - 40 * 3600


def left_by_a_crash(store: Path) -> list[Path]:
    """Two files of a killed trial, one of them two days old."""
    found = []
    for name in UniqueNames(OsFileSystem(), os.getpid(), MARK).new(["", ""]):
        found.append(store / "tmp" / name)
        found[-1].write_bytes(b"\0" * 8192)
    os.utime(found[0], (OLD, OLD))
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "maildir_safe", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    Maildir(tmp_path / "M").deliver(b"Subject: x\n\ntext\n")
    return tmp_path / "M"


def test_no_reader_of_a_maildir_shows_it(box: Path) -> None:
    files = left_by_a_crash(box)
    maildir = Maildir(box, create=False)
    assert len([*maildir.messages()]) == 1
    assert len(DropIn(str(box), create=False)) == 1
    assert run("ls", str(box)).stdout.count("\n") == 1
    with TestClient(application(maildir), base_url="http://127.0.0.1") as client:
        assert client.get("/api/messages").json()["total"] == 1
        assert MARK not in client.get("/").text
        assert client.get(f"/api/messages/{files[1].name}").status_code == 404
        assert client.delete("/api/messages").json() == {"removed": 1}
    assert all(file.exists() for file in files)


def test_the_janitor_removes_an_old_one(box: Path) -> None:
    old, new = left_by_a_crash(box)
    assert run("clean", str(box)).returncode == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_fsck_of_a_maildir_removes_an_old_one(box: Path) -> None:
    old, new = left_by_a_crash(box)
    run("fsck", "--fix", str(box))
    assert (old.exists(), new.exists()) == (False, True)
    assert len([*Maildir(box, create=False).messages()]) == 1


def test_no_reader_of_a_spool_shows_it_and_fsck_removes_an_old_one(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "S")
    queue.put(b"Subject: x\n\n", "a@b", ["c@d"])
    old, new = left_by_a_crash(tmp_path / "S")
    assert len([*queue.items()]) == 1
    assert run("queue", "ls", str(tmp_path / "S")).stdout.count("c@d") == 1
    Maildir(tmp_path / "M")
    run("work", str(tmp_path / "S"), "--to", f"maildir:{tmp_path}/M", "--once")
    assert len([*Maildir(tmp_path / "M").messages()]) == 1
    run("fsck", "--fix", str(tmp_path / "S"))
    assert (old.exists(), new.exists()) == (False, True)
