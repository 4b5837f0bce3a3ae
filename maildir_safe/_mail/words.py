"""Header text for people: unfolded, with encoded words (RFC 2047) decoded and control characters removed."""

from __future__ import annotations

import binascii
import re

from maildir_safe._mail.charsets import decode, guess, is_utf8
from maildir_safe._mail.transfer import base64_bytes

LONGEST = 64 << 10
"""Most characters of one header field that are shown."""

# "=?charset*language?B?": RFC 2231 adds the language
_START = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?")
_JOINERS = "\u200c\u200d"  # not printable alone, but they join several emoji into one


def field_text(raw: bytes, charset: str = "") -> str:
    """Decode a field's value to text.

    Args:
        raw: the value as it is written in the message.
        charset: the charset to assume for bytes that are neither ASCII nor UTF-8.
    """
    return words_text(raw_text(raw, charset))


def raw_text(raw: bytes, charset: str = "") -> str:
    """Unfold a field's value and decode its bytes, but not its encoded words."""
    flat = raw.replace(b"\r\n", b"").replace(b"\n", b"")
    return decode(flat, charset) if charset and not is_utf8(flat) else guess(flat)


def words_text(text: str) -> str:
    """Decode the encoded words in `text`. The result is one line of at most about `LONGEST` characters."""
    return clean("".join(_decoded(text)) if "=?" in text else text)


def clean(text: str) -> str:
    """Put text on one line: characters that are not printable become blanks."""
    cut = text[:LONGEST] + "…" * (len(text) > LONGEST)
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() or c in _JOINERS else " " for c in cut)
    return cut.strip()


def _decoded(text: str) -> list[str]:
    """Decode a text in pieces. A word may end within a character, which the next word then continues."""
    out: list[str] = []
    at, charset, held, word_before = 0, "", b"", False
    while (start := _START.search(text, at)) is not None:
        end = text.find("?=", start.end())
        if end < 0:
            break
        between = text[at : start.start()]
        apart = not word_before or (not between.isspace() and between != "")
        if held and (apart or charset != start[1].lower() or len(held) > LONGEST):
            out.append(decode(held, charset))
            held = b""
        if apart:
            out.append(between)
        charset, word_before = start[1].lower(), True
        held += _bytes_of(start[2], text[start.end() : end])
        at = end + 2
    return [*out, decode(held, charset), text[at:]]


def _bytes_of(coding: str, content: str) -> bytes:
    raw = content.encode("utf-8", "surrogateescape")
    if coding in "bB":
        return base64_bytes(raw)
    return binascii.a2b_qp(raw, header=True)
