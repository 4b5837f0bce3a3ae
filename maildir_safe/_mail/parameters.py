"""A value with parameters, such as ``text/plain; charset=utf-8`` (RFC 2045, RFC 2231)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from maildir_safe._mail.charsets import decode
from maildir_safe._mail.words import raw_text, words_text

_MOST = 100
_LONGEST = 16 << 10
_BETWEEN = re.compile(r"[;\s]*+")
_NAME = re.compile(r"([^\s=;]{1,100}+)\s*+=\s*+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_BARE = re.compile(r"[^;]*+")
_NEXT = re.compile(r"[^;]*+;")
_ESCAPED = re.compile(r'\\(["\\])')  # not the backslashes of C:\path
_SECTION = re.compile(r"([^*]+)(?:\*(\d{1,3}))?(\*)?")


def value_and_parameters(raw: bytes) -> tuple[str, dict[str, str]]:
    """Parse a value with parameters.

    Of a repeated name, the first parameter counts. Sections of RFC 2231 are joined.

    Returns:
        The value, in lower case and without comments; and the decoded parameters by name.
    """
    text = raw_text(raw[:_LONGEST])
    value, _, rest = text.partition(";")
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[bool, str]]] = {}
    for name, content in _pairs(rest):
        found = _SECTION.fullmatch(name)
        if found is None:
            continue
        if found[2] is None and found[3] is None:
            plain.setdefault(name, words_text(content))
        else:
            sections.setdefault(found[1], {}).setdefault(int(found[2] or 0), (bool(found[3]), content))
    plain.update({name: _joined(parts) for name, parts in sections.items()})
    return value.partition("(")[0].strip().lower(), plain


def _pairs(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, quotes = 0, True
    while len(found) < _MOST:
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
        name = _NAME.match(text, at)
        if name is None:
            further = _NEXT.match(text, at)
            if further is None:
                break
            at = further.end()
            continue
        begins = text.startswith('"', name.end())
        quoted = _QUOTED.match(text, name.end()) if begins and quotes else None
        if quoted is not None:
            content, at = _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
        else:
            quotes = quotes and not begins  # if one does not end, none after it does
            bare = _BARE.match(text, name.end())
            assert bare is not None
            content, at = bare[0].partition(" (")[0].strip(' \t"'), bare.end()
        found.append((name[1].lower(), content))
    return found


def _joined(parts: dict[int, tuple[bool, str]]) -> str:
    """Join sections in their order, up to the first missing one. The first encoded one names the charset."""
    charset, data = "", b""
    for at in range(len(parts)):
        if at not in parts:
            break
        encoded, content = parts[at]
        if encoded and at == 0 and content.count("'") >= 2:
            charset, _, content = content.split("'", 2)
        raw = content.encode("utf-8", "replace")
        data += unquote_to_bytes(raw) if encoded else raw
    return words_text(decode(data, charset))
