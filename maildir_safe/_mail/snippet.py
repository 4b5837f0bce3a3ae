"""The first words of a message's text, as lists show them beside the subject."""

from __future__ import annotations

from maildir_safe._mail.charsets import decode
from maildir_safe._mail.html import decode_html, plain_text
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._mail.words import clean

_LONGEST = 120
_ENOUGH = 4 << 10
_ENOUGH_HTML = 16 << 10  # mail begins with its style


def first_words(structure: Structure, raw: bytes) -> str:
    """Return the beginning of a message's text on one line: of its plain text, or else of its HTML.

    Args:
        structure: the message's parts.
        raw: the message, or its beginning.
    """
    texts = [part for part in structure.leaves() if part.disposition != "attachment"]
    for part in texts:
        if part.content_type == "text/plain":
            return one_line(decode(part.beginning(raw, _ENOUGH), _charset(part)), _LONGEST)
    for part in texts:
        if part.content_type == "text/html":
            page = decode_html(part.beginning(raw, _ENOUGH_HTML), _charset(part))
            return one_line(plain_text(page), _LONGEST)
    return ""


def one_line(text: str, longest: int) -> str:
    """Return the beginning of a text on one line, with ``...`` if that is not all of it."""
    line = clean(" ".join(text[: 4 * longest].split()))
    return line if len(line) <= longest else line[:longest] + "..."


def _charset(part: Part) -> str:
    return part.parameters.get("charset", "")
