"""The soak of soak.py for some seconds; ``MAILDIR_SAFE_SOAK_MINUTES=10`` for longer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faultfuse import lacks
from soak import soak

MINUTES = float(os.environ.get("MAILDIR_SAFE_SOAK_MINUTES", "0.33"))

pytestmark = [
    pytest.mark.mounts,
    pytest.mark.skipif(bool(lacks()), reason=lacks() or "-"),
    pytest.mark.timeout(MINUTES * 60 + 1200),
]


def test_every_promise_is_kept_whatever_fails(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    text = soak(tmp_path, MINUTES * 60)
    record_property("note", f"soak: {text}")
    assert "lost 0, partial 0, doubled 0 unexplained" in text
