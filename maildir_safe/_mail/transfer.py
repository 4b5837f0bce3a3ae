"""Content transfer encodings: base64, quoted-printable, uuencode, piece by piece.

Decoding continues after every error: a character outside the alphabet, padding in the middle, a line
that is too long.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_PADDING = re.compile(rb"=+")
_COMMENT = re.compile(r"\([^()]*\)")
_TOKEN = re.compile(r"[A-Za-z0-9-]+")
_LONGEST_LINE = 1 << 20
_MOST_ENDS = 1000  # of groups in one piece; with more, padding means nothing


def coding_of(value: str) -> str:
    """The encoding that a Content-Transfer-Encoding field names, in lower case and without comments."""
    token = _TOKEN.search(_COMMENT.sub(" ", value[:1000]))
    return token[0].lower() if token else ""


def decoded(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Decode bytes. With an unknown encoding they are returned as they are.

    Args:
        pieces: the encoded bytes, cut anywhere.
        coding: the encoding, as `coding_of` returns it.
    """
    if coding == "base64":
        return _base64(pieces)
    if coding == "quoted-printable":
        return map(binascii.a2b_qp, _lines(pieces))
    if coding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _uuencoded(pieces)
    return iter(pieces)


def base64_bytes(raw: bytes) -> bytes:
    """Decode a short base64 text at once."""
    return b"".join(_base64([raw]))


def _base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decode base64. Padding ends a group of four characters; the text after it begins a new group."""
    held = b""
    for piece in pieces:
        text = held + piece.translate(None, _NOT_BASE64)
        if text.count(b"=") > _MOST_ENDS:
            text = text.replace(b"=", b"")
        *ended, held = _PADDING.split(text)
        yield b"".join(map(_group, ended))
        whole = len(held) - len(held) % 4
        yield binascii.a2b_base64(held[:whole])
        held = held[whole:]
    yield _group(held)


def _group(text: bytes) -> bytes:
    if len(text) % 4 == 1:  # six bits are less than a byte
        text = text[:-1]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Regroup the pieces into many whole lines at a time. An endless line is cut."""
    held = b""
    for piece in pieces:
        held += piece
        end = held.rfind(b"\n") + 1
        if not end and len(held) > _LONGEST_LINE:
            end = held.rfind(b"=", -2) if b"=" in held[-2:] else len(held)
        if end:
            yield held[:end]
            held = held[end:]
    yield held


def _uuencoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    within, room = False, 0  # a line may claim more bytes than it has: encoders omit blanks at its end
    for block in _lines(pieces):
        out = []
        for line in filter(None, block.splitlines()):
            if not within:
                within = line.startswith(b"begin ")
            elif line.strip() == b"end":
                within = False
            else:
                room += len(line)
                out.append(_uu_line(line)[:room])
                room -= len(out[-1])
        yield b"".join(out)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        count = (((line[0] - 32) & 63) * 4 + 5) // 3  # some encoders pad the line
        try:
            return binascii.a2b_uu(line[:count])
        except binascii.Error:
            return b""
