"""Decodes bytes to text, for any charset name, known or unknown, right or wrong."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

try:
    import webencodings
except ImportError:  # `ls` and `show` work without it: the table below has the most common names
    webencodings = None  # type: ignore[assignment]

_LONGEST_LABEL = 60
# programs that do not know the charset declare ASCII; Python's codec reads the byte order mark of UTF-16
_BY_GUESS = ("", "ascii", "us-ascii", "ansi_x3.4-1968", "unknown-8bit", "x-unknown", "default")
_BY_PYTHON = ("utf-16", "utf-7", "hz-gb-2312", "iso-2022-kr")
# quadratic, or not a charset of messages
_NEVER = ("punycode", "idna", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem")
# labels that WHATWG's encoding standard maps to a superset; used if `webencodings` is not installed
_SUPERSETS = {
    "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "iso_8859-1": "cp1252", "latin1": "cp1252",
    "iso-8859-9": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874", "windows-874": "cp874",
    "iso-8859-8-i": "iso8859-8", "iso-8859-8-e": "iso8859-8", "visual": "iso8859-8",
    "gb2312": "gbk", "gb_2312-80": "gbk", "x-gbk": "gbk", "chinese": "gbk",
    "shift_jis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932", "x-euc-jp": "euc-jp",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "big5": "big5hkscs",
    "x-mac-cyrillic": "mac-cyrillic", "macintosh": "mac-roman", "unicode-1-1-utf-8": "utf-8",
}  # fmt: skip
# the bytes that are not UTF-8, as surrogateescape decodes them, in windows-1252
_WESTERN = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
_HALVES = re.compile("[\ud800-\udfff]")


def decode(data: bytes, charset: str = "") -> str:
    """Decode bytes to text. Never raises, and never returns a surrogate (half a character).

    Args:
        data: the bytes.
        charset: the charset as the sender names it. If it is empty, ASCII or unknown, `guess` decodes.
    """
    name = _codec(charset[:_LONGEST_LABEL].strip(" \t\"'").lower())
    try:
        text = data.decode(name, "replace") if name else guess(data)
    except (LookupError, ValueError):  # a codec between bytes and bytes
        text = guess(data)
    return _HALVES.sub("\ufffd", text)


def guess(data: bytes) -> str:
    """Decode bytes as UTF-8, and those that are not valid UTF-8 as windows-1252."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape").translate(_WESTERN)


def is_utf8(data: bytes) -> bool:
    """Whether bytes are valid UTF-8, ASCII included. False if they contain escapes, as ISO 2022 does."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\x1b" not in data


@lru_cache(256)
def _codec(label: str) -> str | None:
    """Python's name of a charset; None if `guess` should decode it."""
    if label.removeprefix("x-") == "latin-1":
        label = "iso-8859-1"
    if label in _BY_GUESS:
        return None
    if webencodings is not None and label not in _BY_PYTHON:
        known = webencodings.lookup(label)
        if known is not None and known.name not in ("replacement", "x-user-defined"):
            return str(known.codec_info.name)
    try:
        name = codecs.lookup(_SUPERSETS.get(label, label)).name
    except (LookupError, ValueError):
        return None
    return None if name in _NEVER or name == "ascii" else _SUPERSETS.get(name, name)
