"""Hooks of the documents' site (mkdocs.yml): pages link to files of the repository, which the site has not.

Links to other documents at the root of the repository lead to copies of those; links to code and
examples become the path alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]
COPIES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files of the repository that are pages of the site, by the name that they have there."""

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the copies."""
    for source, name in COPIES.items():
        text = (REPOSITORY / source).read_text()
        files.append(File.generated(config, name, content=linked(text, source, name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links that leave docs/ around."""
    name = page.file.src_uri
    return markdown if name in COPIES.values() else linked(markdown, f"docs/{name}", name)


def linked(text: str, source: str, name: str) -> str:
    """The text of a file of the repository as the page `name` of the site has it."""

    def turn(found: re.Match[str]) -> str:
        words, path, heading = found[1], found[2], found[3] or ""
        target = normpath(f"{source}/../{path}")
        if target in COPIES:
            return f"[{words}]({_from(name, COPIES[target])}{heading})"
        if target.startswith("docs/"):
            return f"[{words}]({_from(name, target.removeprefix('docs/'))}{heading})"
        return f"{words} (`{target}`)" if target not in words else words

    return _LINK.sub(turn, text)


def _from(page: str, target: str) -> str:
    return relpath(target, normpath(f"{page}/.."))
