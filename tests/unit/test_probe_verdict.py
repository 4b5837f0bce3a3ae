"""The probe where there is no mount to try: what it says of a file system that misbehaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import maildir_safe.probe as probing
from maildir_safe.fs import OsFileSystem
from maildir_safe.probe import probe


class EmptiesDirectories(OsFileSystem):
    """As fusefat does: a directory is empty once it is renamed."""

    def rename(self, src: str, dst: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        super().rename(src, dst, src_dir_fd, dst_dir_fd)
        moved = Path(f"/proc/self/fd/{dst_dir_fd}", dst)
        if moved.is_dir():
            shutil.rmtree(moved)
            moved.mkdir()


def test_a_local_directory_is_safe_and_left_as_it_was(tmp_path: Path) -> None:
    report = probe(str(tmp_path))
    assert report.verdict == "SAFE", report.reasons
    assert report.facts["rename of a directory"] == "ok"
    assert os.listdir(tmp_path) == []


def test_directories_that_lose_what_they_hold_are_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "OsFileSystem", EmptiesDirectories)
    report = probe(str(tmp_path))
    assert report.verdict == "UNSAFE"
    assert report.facts["rename of a directory"] == "empties it"
    assert any("EMPTY" in reason for reason in report.reasons)
    assert os.listdir(tmp_path) == []
