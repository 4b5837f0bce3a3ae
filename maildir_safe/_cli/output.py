"""Output of all verbs. Text from strangers must never control the terminal."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def visible(text: str, keep: str = "") -> str:
    r"""Replace every character that is not printable by an escape such as ``\x1b``.

    These are control characters, marks that reverse the writing direction, and bytes that are not
    valid text.

    Args:
        text: the text.
        keep: characters to leave as they are, such as ``"\n\t"``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def print_json(value: Any) -> None:
    """Print a JSON value on its own line, in ASCII."""
    print(json.dumps(value))


def bytes_text(size: int) -> str:
    """A number of bytes for people: ``"4.2 MiB"``."""
    number = float(size)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def paint(text: str, colour: str) -> str:
    """Colour `text` (``"31"`` is red) if standard output is a terminal and NO_COLOR is not set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"
