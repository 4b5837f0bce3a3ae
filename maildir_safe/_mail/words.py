"""Header text as people read it: folding undone, encoded words (RFC 2047) decoded, controls gone."""

from __future__ import annotations

import binascii
import re

from maildir_safe._mail.charsets import decode, guess, is_utf8
from maildir_safe._mail.transfer import base64_bytes

LONGEST = 64 << 10
"""Characters of one header field that are shown."""

# "=?charset*language?B?": the language is RFC 2231's
_START = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?")
_JOINERS = "\u200c\u200d"  # do not print by themselves, but make one emoji of several


def field_text(raw: bytes, charset: str = "") -> str:
    """A field's value as text.

    Args:
        raw: as it stands in the message.
        charset: what bytes that are neither ASCII nor UTF-8 may be written in.
    """
    return words_text(raw_text(raw, charset))


def raw_text(raw: bytes, charset: str = "") -> str:
    """A field's value as characters, unfolded, its encoded words as they stand."""
    flat = raw.replace(b"\r\n", b"").replace(b"\n", b"")
    return decode(flat, charset) if charset and not is_utf8(flat) else guess(flat)


def words_text(text: str) -> str:
    """Text with its encoded words decoded, on one line, and not longer than `LONGEST`."""
    return clean("".join(_decoded(text)) if "=?" in text else text)


def clean(text: str) -> str:
    """Text on one line: what does not print is a blank."""
    cut = text[:LONGEST] + "…" * (len(text) > LONGEST)
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() or c in _JOINERS else " " for c in cut)
    return cut.strip()


def _decoded(text: str) -> list[str]:
    """The pieces of a text. A word may end within a character: the next of the same charset goes on."""
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
