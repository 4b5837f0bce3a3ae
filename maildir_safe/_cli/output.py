"""What all verbs print: text that a stranger wrote must not steer the terminal."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def visible(text: str, keep: str = "") -> str:
    r"""Text with everything that does not print shown as an escape such as ``\x1b``.

    That is control characters, the marks that reverse the writing direction, and bytes that are no
    valid text.

    Args:
        keep: characters to leave as they are, such as ``"\n\t"``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def print_json(value: Any) -> None:
    """One JSON object, on a line of its own, in ASCII."""
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
    """Text in an ANSI colour (``"31"`` is red), on a terminal and without NO_COLOR; else as it is."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"
