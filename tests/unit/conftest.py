"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe import Queue


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No index of a search is made in the user's own cache directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty spool, into which `sendmail` and `qmail-queue` put."""
    path = tmp_path / "spool"
    Queue(path).close()
    config = tmp_path / "sendmail.toml"
    config.write_text(f'spool = "{path}"\ndomain = "here.example"\nsize_limit = 100_000\n')
    monkeypatch.setenv("MAILDIR_SAFE_SENDMAIL_CONFIG", str(config))
    return path
