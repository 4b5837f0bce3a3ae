"""The fields of a header: split by lines, limited in number and size, decoded on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from maildir_safe._mail.parameters import value_and_parameters
from maildir_safe._mail.words import field_text

MOST_FIELDS = 5000
"""Most header fields of a message; a part of it has at most `MOST_OF_PART`."""
MOST_OF_PART = 200
LONGEST_HEADER = 1 << 20
"""Most bytes of a message's header; a part's header has at most `LONGEST_OF_PART`."""
LONGEST_OF_PART = 64 << 10

_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?")
_JUNK = re.compile(rb"(?:>?From [^\n]*+\n|[ \t]++[^\r\n \t][^\n]*+\n)")  # an mbox line; a stray continuation
_BLANK = re.compile(rb"\r?\n")
_END = re.compile(rb"\n\r?\n")


class Fields:
    """The fields of one header, in their order.

    Attributes:
        raw: name and value of each field, as they are written.
        cut: whether there were more fields than are kept.
    """

    __slots__ = ("_charset", "cut", "raw")

    def __init__(self, raw: list[tuple[str, bytes]], cut: bool = False) -> None:
        self.raw = raw
        self.cut = cut
        self._charset: str | None = None

    def bytes_of(self, name: str) -> bytes:
        """The value of the first field with this (lower-case) name, as written; ``b""`` if there is none."""
        return next((value for key, value in self.raw if key.lower() == name), b"")

    def text(self, name: str) -> str:
        """The value of the first field with this (lower-case) name, decoded; ``""`` if there is none."""
        return field_text(self.bytes_of(name), self.charset)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Names and decoded values of all fields."""
        return ((name, field_text(value, self.charset)) for name, value in self.raw)

    @property
    def charset(self) -> str:
        """The declared charset of the body. Fields that are not UTF-8 mostly use it too."""
        if self._charset is None:
            parameters = value_and_parameters(self.bytes_of("content-type"))[1]
            self._charset = parameters.get("charset", "")
        return self._charset


def read_fields(
    raw: bytes,
    start: int = 0,
    most: int = MOST_FIELDS,
    longest: int = LONGEST_HEADER,
    is_delimiter: Callable[[bytes], bool] | None = None,
) -> tuple[Fields, int]:
    """Read the header that begins at `start`.

    A line that is not a field ends the header and begins the body.

    Args:
        raw: the message, or its beginning.
        start: offset in bytes.
        most: most fields to keep.
        longest: most bytes to read.
        is_delimiter: tells whether a line that begins with ``--`` ends the part.

    Returns:
        The fields, and the offset of the body.
    """
    found: list[tuple[str, bytes]] = []
    at, end = start, start + longest
    while (junk := _JUNK.match(raw, at, end)) is not None and not found and at - start < 4096:
        at = junk.end()
    while (field := _FIELD.match(raw, at, end)) is not None:
        if is_delimiter is not None and raw.startswith(b"--", at) and is_delimiter(_line(raw, at)):
            return Fields(found), at
        if len(found) == most or field.end() == end < len(raw):
            return Fields(found, cut=True), _body(raw, at, longest)
        found.append((field[1].decode("ascii"), field[2].strip(b" \t\r\n")))
        at = field.end()
    blank = _BLANK.match(raw, at)
    return Fields(found), blank.end() if blank else at


def _line(raw: bytes, at: int) -> bytes:
    end = raw.find(b"\n", at, at + 1000)
    return raw[at : end if end >= 0 else at + 1000]


def _body(raw: bytes, at: int, longest: int) -> int:
    """The offset of the body after a header that is too long, if its end is near; else `at`."""
    end = _END.search(raw, at, at + 2 * longest)
    return end.end() if end else at


def head_is_complete(head: bytes) -> bool:
    """Whether the first bytes of a message contain its whole header."""
    return _END.search(head) is not None
