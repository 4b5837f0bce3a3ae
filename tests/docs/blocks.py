"""The fenced blocks of a Markdown page, and what the page says about running them.

A comment on the line above a fence is a directive:

    <!-- not run: why -->       nobody runs this block
    <!-- config: name -->       another test takes this block by its name
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"

_FENCE = re.compile(
    r"^(?:<!-- (?P<directive>[^\n]*?) -->\n)?(?P<fence>```)(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the word after the fence; empty if there is none.
        text: what is between the fences.
        line: of the opening fence, from 1.
        directive: the comment above it, or the empty string.
    """

    language: str
    text: str
    line: int
    directive: str

    @property
    def file_name(self) -> str:
        """The name in a first line `# name.py`: the reader saves such a block; else the empty string."""
        found = re.match(r"# ([\w.-]+\.\w+)\n", self.text)
        return found[1] if found else ""


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text()
    return [
        Block(
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("fence")) + 1,
            found["directive"] or "",
        )
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows.

    A command begins with ``$ ``, its further lines with ``> ``.
    """
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            assert found, f"line {block.line}: output before the first command"
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output)) for command, output in found]


def pages() -> list[Path]:
    """Every page that a user reads: README.md and all of docs/."""
    return [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """A page as a test's id."""
    return str(page.relative_to(REPOSITORY))
