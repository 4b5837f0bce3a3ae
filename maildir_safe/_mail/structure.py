"""The tree of a message's parts (RFC 2046), built in one pass over its delimiter lines, at any depth.

A message inside a message is one part: it is shown and saved as a whole, and its text is never
mistaken for the text of the outer message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from maildir_safe._mail.fields import LONGEST_OF_PART, MOST_FIELDS, MOST_OF_PART, Fields, read_fields
from maildir_safe._mail.parameters import value_and_parameters
from maildir_safe._mail.transfer import coding_of, decoded

MOST_PARTS = 1000
DEEPEST = 50
MOST_DELIMITERS = 500_000
_PIECE = 64 << 10
_DELIMITER = re.compile(rb"^--([^\n]{1,1000})", re.MULTILINE)
_TYPE = re.compile(r"[!-.0-~]+/[!-.0-~]+")


class Part:
    """A part of a message, or the message itself.

    Attributes:
        number: position in the order in which the parts begin; the message itself is 0.
        fields: the header.
        content_type: the type in lower case, such as ``"text/plain"``.
        parameters: the parameters of the content type.
        body, end: offsets of the body in the message, in bytes.
        parent: the multipart that contains the part; None for the message itself.
        coding: the content transfer encoding.
        is_multipart: whether the part contains other parts.
    """

    __slots__ = (
        "body",
        "coding",
        "content_type",
        "disposition",
        "disposition_parameters",
        "end",
        "fields",
        "is_multipart",
        "number",
        "parameters",
        "parent",
    )  # fmt: skip

    def __init__(self, number: int, fields: Fields, body: int, end: int, parent: Part | None) -> None:
        self.number = number
        self.content_type: str
        self.fields = fields
        self.body = body
        self.end = end
        self.parent = parent
        usual = "message/rfc822" if parent and parent.content_type == "multipart/digest" else "text/plain"
        value, self.parameters = value_and_parameters(fields.bytes_of("content-type"))
        self.content_type = value if _TYPE.fullmatch(value) else usual
        self.disposition, self.disposition_parameters = value_and_parameters(
            fields.bytes_of("content-disposition")
        )
        self.coding = coding_of(fields.text("content-transfer-encoding"))
        self.is_multipart = False

    @property
    def filename(self) -> str:
        """The file name that the sender gave; ``""`` if none."""
        return self.disposition_parameters.get("filename") or self.parameters.get("name", "")

    def content(self, raw: bytes) -> Iterator[bytes]:
        """The decoded bytes of the part, in pieces.

        Args:
            raw: the whole message.
        """
        pieces = (raw[at : min(at + _PIECE, self.end)] for at in range(self.body, self.end, _PIECE))
        return decoded(pieces, self.coding)

    def beginning(self, raw: bytes, most: int) -> bytes:
        """The first `most` decoded bytes of the part in the message `raw`."""
        out: list[bytes] = []
        length = 0
        for piece in self.content(raw):
            out.append(piece)
            length += len(piece)
            if length >= most:
                break
        return b"".join(out)[:most]


class Structure:
    """A message's parts in their order.

    Attributes:
        parts: the parts; the first is the message itself.
        problem: why parts are missing, for people; ``""`` if all are here.
    """

    def __init__(self, raw: bytes) -> None:
        self.parts: list[Part] = []
        self.problem = ""
        self._raw = raw
        self._open: list[tuple[bytes, Part]] = []
        self._levels: dict[bytes, int] = {}
        self._current: Part | None = None
        self._begin(0, None, MOST_FIELDS)
        if self._open:
            self._read_parts()

    def leaves(self) -> Iterator[Part]:
        """The parts that contain no other parts."""
        return (part for part in self.parts if not part.is_multipart)

    def _read_parts(self) -> None:
        for count, found in enumerate(_DELIMITER.finditer(self._raw, self.parts[0].body)):
            if count == MOST_DELIMITERS:
                self.problem = "it has too many lines that begin with '--'"
                break
            text = found[1].rstrip()
            level = self._levels.get(text)
            last = level is None and text.endswith(b"--")
            if last:
                level = self._levels.get(text[:-2])
            if level is None:
                continue
            self._close(level + (not last), found.start())
            if not self._open:
                return
            if last:
                continue
            if len(self.parts) >= MOST_PARTS:
                self.problem = f"it has more than {MOST_PARTS} parts"
                return
            self._begin(min(found.end() + 1, len(self._raw)), self._open[level][1], MOST_OF_PART)

    def _begin(self, start: int, parent: Part | None, most: int) -> None:
        raw = self._raw
        if parent is None:
            fields, body = read_fields(raw)
        else:
            fields, body = read_fields(raw, start, most, LONGEST_OF_PART, self._is_delimiter)
        part = Part(len(self.parts), fields, body, len(raw), parent)
        self.parts.append(part)
        self._current = part
        if fields.cut:
            self.problem = "it has too many header fields, or too long ones"
        boundary = part.parameters.get("boundary", "").rstrip().encode("utf-8", "surrogateescape")
        if part.content_type.startswith("multipart/") and boundary and boundary not in self._levels:
            if len(self._open) == DEEPEST:
                self.problem = f"its parts are nested deeper than {DEEPEST} levels"
                return
            part.is_multipart = True
            self._levels[boundary] = len(self._open)
            self._open.append((boundary, part))

    def _is_delimiter(self, line: bytes) -> bool:
        text = line[2:].rstrip()
        return text in self._levels or (text.endswith(b"--") and text[:-2] in self._levels)

    def _close(self, level: int, at: int) -> None:
        """End the current part, and the multiparts from `level` on, before the delimiter at offset `at`."""
        at -= self._raw.startswith(b"\n", at - 1) if at else 0
        at -= self._raw.startswith(b"\r", at - 1) if at else 0
        for boundary, part in self._open[level:]:
            part.end = max(part.body, at)
            del self._levels[boundary]
        del self._open[level:]
        if self._current is not None:
            self._current.end = max(self._current.body, at)
            self._current = None
