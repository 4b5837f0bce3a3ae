"""Fixtures for tests on real mounts (see mounts.py), and with a browser (see browser.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mounts import Mounts

from benchmarks.mounts import Mount

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.smtp_support import Serve


@pytest.fixture(scope="session")
def mounts() -> Iterator[Mounts]:
    """The mounts of this session; taken down at its end."""
    session = Mounts()
    yield session
    session.down()


@pytest.fixture
def mount(mounts: Mounts, request: pytest.FixtureRequest) -> Mount:
    """The mount of the kind that `on_mounts` names."""
    return mounts.get(request.param)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, for the tests of one file."""
    from browser import chromium  # needs Playwright, which most of these tests do without

    with chromium() as browser:
        yield browser


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A server with its page; at its end, it has ended well."""
    from tests.smtp_support import Serve  # needs what a server needs, which the guest does not have

    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    yield serve
    assert serve.end()[0] == 0
