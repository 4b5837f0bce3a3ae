"""Docstrings in the form that this project writes them, taken apart."""

from __future__ import annotations

import re

_ERROR_INSIDE = re.compile(r"(?<=\.) (?=(?:\w+Error|UnknownOutcome|NotAMaildir): )")
HEADINGS = ("Args", "Returns", "Raises", "Attributes", "Yields")


def sections(text: str) -> dict[str, str]:
    """The parts of a docstring (`inspect.getdoc`): what stands above the first heading has the key ``""``."""
    found = {"": ""}
    at = ""
    for line in text.splitlines():
        heading = re.fullmatch(rf"({'|'.join(HEADINGS)}):", line)
        if heading:
            at = heading[1]
            found[at] = ""
        else:
            found[at] += f"{line}\n"
    return {name: dedented(body) for name, body in found.items()}


def dedented(text: str) -> str:
    """Without the indentation of the first line."""
    first = re.match(r" *", text)
    indent = first[0] if first else ""
    lines = [line.removeprefix(indent) for line in text.splitlines()]
    return "\n".join(lines).strip("\n")


def items(body: str) -> list[tuple[list[str], str]]:
    """The entries `name, name: words` of a section. One line may hold several errors."""
    found: list[tuple[list[str], str]] = []
    for line in _ERROR_INSIDE.sub("\n", body).splitlines():
        entry = re.match(r"([\w*.]+(?:, [\w*.]+)*): (.*)", line)
        if entry:
            found.append((entry[1].split(", "), entry[2]))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}".strip())
        elif line.strip():
            found.append(([], line.strip()))
    return found


def markdown(text: str) -> str:
    """Prose of a docstring as Markdown: double backticks are code there as well, and so is a dialogue."""
    text = re.sub(
        r"(?m)(^(?:>>>|\.\.\.).*\n?)+", lambda found: f"```python\n{found[0].rstrip()}\n```\n", text
    )
    return re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
