"""A Maildir, a queue, and our programs in C, built."""

from __future__ import annotations

from pathlib import Path

import pytest
from shim_cases import WAYS, build


@pytest.fixture(scope="session", params=sorted(WAYS))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Our programs (programs.c), built."""
    return build(tmp_path_factory.mktemp("built"), request.param)


@pytest.fixture(scope="session")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, where it makes no difference how they are linked."""
    return build(tmp_path_factory.mktemp("built"), "dynamic")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """An empty Maildir."""
    for part in ("tmp", "new", "cur"):
        (tmp_path / "box" / part).mkdir(parents=True)
    return tmp_path / "box"


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """An empty queue as qmail has it."""
    for part in ("pid", "intd", "todo", *(f"mess/{n}" for n in range(23))):
        (tmp_path / "queue" / part).mkdir(parents=True)
    return tmp_path / "queue"
