"""Adds the manual pages and the completions to the wheel: an installation has them below its prefix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface[Any]):
    """The hook of pyproject.toml. An editable installation goes without: its pages would soon be old."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files, and name them as data of the wheel."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from tools import manpages
        finally:
            sys.path.remove(self.root)
        made = Path(self.root) / "build"
        build_data["shared_data"] |= {str(made / path): path for path in manpages.write(made)}
