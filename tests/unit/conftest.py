"""Fixtures of several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from maildir_safe import Queue


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty spool, into which `sendmail` and `qmail-queue` put."""
    path = tmp_path / "spool"
    Queue(path).close()
    config = tmp_path / "sendmail.toml"
    config.write_text(f'spool = "{path}"\ndomain = "here.example"\nsize_limit = 100_000\n')
    monkeypatch.setenv("MAILDIR_SAFE_SENDMAIL_CONFIG", str(config))
    return path
