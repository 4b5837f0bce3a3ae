"""Results that are kept: those of the last run, and beside them those of the run before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def before(path: Path) -> Path:
    """Where the results of the run before are: ``deliver.before.json`` for ``deliver.json``."""
    return path.with_suffix(f".before{path.suffix}")


def keep(path: Path, found: dict[str, Any]) -> None:
    """Write results as JSON; those that the file had are kept as `before`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(before(path))
    path.write_text(json.dumps(found, indent=1) + "\n")
