"""Writes the pages of docs/reference that come from the code: `make docs` and a test keep them current.

python -m tools.reference            write the pages
python -m tools.reference --check    change nothing; 1 if a page is not current
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools import reference_cli, reference_config, reference_python

DIRECTORY = Path(__file__).parents[1] / "docs" / "reference"
PAGES = {
    "cli.md": reference_cli.page,
    "configuration.md": reference_config.page,
    "python-api.md": reference_python.page,
}
NOTICE = "\n<!-- Written by `python -m tools.reference`; change the code's own words instead. -->\n"


def stale() -> dict[Path, str]:
    """The pages that are not as the code has them, with the text that they should have."""
    wanted = {DIRECTORY / name: page() + NOTICE for name, page in PAGES.items()}
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}


def main(words: list[str]) -> int:
    """Write what is stale, or with `--check` only name it."""
    check = words == ["--check"]
    found = stale()
    for path, text in found.items():
        print(f"{path.name} {'is not current' if check else 'written'}")
        if not check:
            path.write_text(text)
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
