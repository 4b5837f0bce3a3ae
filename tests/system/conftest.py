"""Fixtures for tests on real mounts; see mounts.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mounts import Mounts

from benchmarks.mounts import Mount


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
