"""Mailboxes in From, To and similar fields (RFC 5322 3.4): first split, then decoded.

In the other order a sender could forge the display: an encoded comma or ``<`` in a display name
would become syntax. An address is shown as it is written, never decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from maildir_safe._mail.words import LONGEST, clean, raw_text, words_text

MOST_TOKENS = 20_000
_LONGEST_FIELD = 256 << 10
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_PLAIN = re.compile(r'[^"(<,;:]++')
_PARENTHESES = re.compile(r"\\.|[()]", re.DOTALL)
_SPECIAL = re.compile(r'[()<>\[\]:;@\\,"]')
_DEEPEST_COMMENT = 100


@dataclass(slots=True, frozen=True)
class Mailbox:
    """One of a field's mailboxes.

    Attributes:
        name: the display name, decoded; ``""`` if there is none.
        address: the address as written; ``""`` for a name alone, or for an empty group.
    """

    name: str
    address: str

    def __str__(self) -> str:
        """The mailbox as shown. A name that could be mistaken for an address is quoted."""
        if not self.name:
            return self.address
        name = self.name
        if _SPECIAL.search(name):
            name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{name} <{self.address}>" if self.address else name


def mailboxes(raw: bytes, charset: str = "") -> list[Mailbox]:
    """Parse the mailboxes of a field.

    Args:
        raw: the field's value, as it is written.
        charset: see `maildir_safe._mail.words.field_text`.
    """
    return _Parser(raw_text(raw[:_LONGEST_FIELD], charset)).parse()


def addresses_text(found: Iterable[Mailbox]) -> str:
    """Mailboxes in one line."""
    out: list[str] = []
    length = 0
    for mailbox in found:
        out.append(str(mailbox))
        length += len(out[-1]) + 2
        if length > LONGEST:
            break
    return clean(", ".join(out))


class _Parser:
    """Parses one field. The start of an unterminated quote, comment or angle is read as a plain character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._never_ends: set[str] = set()
        self._found: list[Mailbox] = []
        self._begin()

    def _begin(self) -> None:
        self._phrase: list[str] = []
        self._is_address = False
        self._comment = ""
        self._angle: str | None = None

    def parse(self) -> list[Mailbox]:
        for _ in range(MOST_TOKENS):
            if self._at >= len(self._text):
                break
            self._token(self._text[self._at])
        self._end()
        return self._found

    def _token(self, c: str) -> None:
        if c in ",;":
            self._at += 1
            self._end()
        elif c == ":" and not self._is_address and self._angle is None:
            self._at += 1
            self._group()
        elif c == '"' and (quoted := self._match(_QUOTED, c)) is not None:
            self._phrase.append('"' + re.sub(r"\\(.)", r"\1", quoted) + '"')
        elif c == "(" and (comment := self._nested()) is not None:
            self._comment = self._comment or comment
        elif c == "<" and c not in self._never_ends and (end := self._text.find(">", self._at)) >= 0:
            if self._angle is not None:
                self._phrase.append(f"<{self._angle}>")
            self._angle = self._text[self._at + 1 : end]
            self._at = end + 1
        else:
            if c == "<":
                self._never_ends.add(c)
            plain = _PLAIN.match(self._text, self._at)
            self._phrase.append(plain[0] if plain else c)
            self._is_address = self._is_address or "@" in self._phrase[-1]
            self._at += len(self._phrase[-1])

    def _match(self, pattern: re.Pattern[str], c: str) -> str | None:
        found = pattern.match(self._text, self._at) if c not in self._never_ends else None
        if found is None:
            self._never_ends.add(c)
            return None
        self._at = found.end()
        return str(found[1])

    def _nested(self) -> str | None:
        """Read a comment, which may contain comments. None if it does not end."""
        if "(" in self._never_ends:
            return None
        depth = 0
        for found in _PARENTHESES.finditer(self._text, self._at):
            depth += {"(": 1, ")": -1}.get(found[0], 0)
            if depth == 0:
                comment = self._text[self._at + 1 : found.start()]
                self._at = found.end()
                return comment
            if depth > _DEEPEST_COMMENT:
                break
        self._never_ends.add("(")
        return None

    def _group(self) -> None:
        """Read the name of a group, ``Name: a, b;``. It is kept only if the group is empty."""
        name, self._phrase = "".join(self._phrase), []
        rest = self._text[self._at : self._at + 100].lstrip()
        if rest.startswith(";") or not rest:
            self._found.append(Mailbox(words_text(name), ""))

    def _end(self) -> None:
        mailbox = self._mailbox()
        if mailbox.name or mailbox.address:
            self._found.append(mailbox)
        self._begin()

    def _mailbox(self) -> Mailbox:
        bare = "".join(self._phrase).strip()
        comment = words_text(self._comment)
        if self._angle is not None:
            address = "".join(self._angle.split())
            if address.startswith("@"):  # a route, RFC 5322 4.4
                address = address.rpartition(":")[2]
            return Mailbox(_display(self._phrase) or comment, clean(address))
        if "@" in bare or (bare and len(bare.split()) == 1 and "=?" not in bare and not bare.startswith('"')):
            return Mailbox(comment, clean("".join(bare.split()) if '"' not in bare else bare))
        return Mailbox(_display(self._phrase) or comment, "")


def _display(phrase: list[str]) -> str:
    plain = (piece[1:-1] if piece[:1] == piece[-1:] == '"' else piece for piece in phrase)
    return words_text("".join(plain))
