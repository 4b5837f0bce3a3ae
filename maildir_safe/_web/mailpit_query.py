"""Mailpit's search syntax: words, quoted phrases, ``from:ada``, ``is:unread``, ``larger:2M``; ``-`` negates.

A message matches if it matches every term. Texts are compared without regard to case. A field that
does not exist is searched as a word, as in Mailpit; a malformed value of one that exists is refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from maildir_safe._web.index import Needle
from maildir_safe._web.parameters import bad
from maildir_safe._web.search import folded

_LONGEST = 10_000
_MOST_TERMS = 100
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s?([km]?)b?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_NUMBER = re.compile(r"\d{9,10}(?:\.\d{1,6})?", re.ASCII)
_FORMATS = ("%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d %b %Y", "%b %d, %Y")


class TooSlow(Exception):
    """The time for a search is over."""


class Searched(Protocol):
    """What a query asks about a message."""

    unread: bool
    created: float
    tags: list[str]

    @property
    def size(self) -> int:
        """Its size in bytes."""

    @property
    def attachments(self) -> int:
        """The number of its attachments."""

    @property
    def inlines(self) -> int:
        """The number of its parts that are shown within the text."""

    def field(self, name: str) -> str:
        """The folded text of a field: from, to, cc, bcc, reply-to, subject, message-id or body."""

    @property
    def text(self) -> str:
        """All its text, folded."""


@dataclass(frozen=True)
class Term:
    """One term of a query.

    Attributes:
        matches: tells whether a message has it.
        negated: whether the message must not have it.
        cost: 0 if the listing decides, 1 if the header does, 2 if the whole message must be read.
        needle: what an index must look for to decide it; None: the index cannot.
    """

    matches: Callable[[Searched], bool]
    negated: bool
    cost: int
    needle: Needle | None = None


_FIELDS = ("from", "to", "cc", "bcc", "reply-to", "subject", "message-id", "body")
_ADDRESSED = ("from", "to", "cc", "bcc", "reply-to")
_WHETHER: dict[str, tuple[int, Callable[[Searched], bool]]] = {
    "is:read": (0, lambda mail: not mail.unread),
    "is:unread": (0, lambda mail: mail.unread),
    "is:tagged": (0, lambda mail: bool(mail.tags)),
    "has:attachment": (1, lambda mail: mail.attachments > 0),
    "has:attachments": (1, lambda mail: mail.attachments > 0),
    "has:inline": (1, lambda mail: mail.inlines > 0),
    "has:inlines": (1, lambda mail: mail.inlines > 0),
}

_COUNTED = {"has:attachment": Needle("attachments"), "has:inline": Needle("inlines")}


class SearchQuery:
    """A query.

    Args:
        text: the query as the user wrote it.
        zone: name of the time zone of dates without one; ``""``: this machine's.

    Raises:
        HTTPException: 400, a term or the zone is malformed; the text names it.
    """

    def __init__(self, text: str, zone: str = "") -> None:
        if len(text) > _LONGEST:
            raise bad(f"query: longer than {_LONGEST} characters")
        where = time_zone(zone)
        terms = [_term(word, where) for word in words(text)]
        if not terms:
            raise bad("query: no search query")
        if len(terms) > _MOST_TERMS:
            raise bad(f"query: more than {_MOST_TERMS} terms")
        self._terms = sorted(terms, key=lambda term: term.cost)

    @property
    def needles(self) -> list[Needle]:
        """What an index must look for."""
        return [term.needle for term in self._terms if term.needle]

    @property
    def is_empty(self) -> bool:
        """Whether it has no terms, so that every message matches."""
        return not self._terms

    def matches(self, mail: Searched, until: float = float("inf")) -> bool:
        """Whether a message matches every term.

        Args:
            mail: the message.
            until: when the search must end, by the monotonic clock.

        Raises:
            TooSlow: it has not ended by then.
        """
        for term in self._terms:
            if time.monotonic() > until:
                raise TooSlow
            if term.matches(mail) == term.negated:
                return False
        return True

    def passes(self, row: int, hits: dict[Needle, set[int]]) -> bool:
        """Whether a row of an index matches every term with a needle."""
        return all((row in hits[term.needle]) != term.negated for term in self._terms if term.needle)

    def without_needles(self) -> SearchQuery:
        """The terms that an index cannot decide, as a query."""
        rest = copy(self)
        rest._terms = [term for term in self._terms if not term.needle]
        return rest


def words(text: str) -> Iterator[str]:
    """The terms of a query. Quotes keep blanks within a term, and are removed."""
    for word in re.findall(r'(?:"[^"]*"?|[^\s"])+', text):
        plain = word.replace('"', "").strip()
        if plain not in ("", "-", "!"):
            yield plain


def _term(word: str, zone: tzinfo | None) -> Term:
    negated = word[0] in "-!"
    plain = word[1:] if negated else word
    whether = _WHETHER.get(plain.lower())
    if whether is not None:
        return Term(whether[1], negated, whether[0], _COUNTED.get(plain.lower().rstrip("s")))
    name, colon, value = plain.partition(":")
    name, value = name.lower(), value.strip()
    if colon and name in ("is", "has"):
        known = ", ".join(key for key in _WHETHER if key.startswith(f"{name}:"))
        raise bad(f"query: {plain[:100]!r} is not one of {known}")
    if colon and name in (*_FIELDS, "addressed", "tag", "after", "before", "larger", "smaller"):
        if not value:
            raise bad(f"query: {name}: has no value")
        return _field(name, value, negated, zone)
    wanted = folded(plain)
    return Term(lambda mail: wanted in mail.text, negated, 2, Needle("text", wanted))


def _field(name: str, value: str, negated: bool, zone: tzinfo | None) -> Term:
    if name in ("after", "before"):
        seconds = moment(name, value, zone)
        if name == "after":
            return Term(lambda mail: mail.created >= seconds, negated, 0)
        return Term(lambda mail: mail.created <= seconds, negated, 0)
    if name in ("larger", "smaller"):
        size = _bytes(name, value)
        if name == "larger":
            return Term(lambda mail: mail.size > size, negated, 0)
        return Term(lambda mail: mail.size < size, negated, 0)
    wanted = folded(value)
    if name == "tag":
        return Term(lambda mail: wanted in map(folded, mail.tags), negated, 0)
    if name == "body":  # the text is remembered, and the body is not
        test = lambda mail: wanted in mail.text and wanted in mail.field(name)  # noqa: E731
        return Term(test, negated, 2, Needle(name, wanted))
    names = _ADDRESSED if name == "addressed" else (name,)
    needle = Needle(" ".join(names), wanted)
    return Term(lambda mail: any(wanted in mail.field(one) for one in names), negated, 1, needle)


def _bytes(name: str, value: str) -> float:
    found = _SIZE.fullmatch(value)
    if found is None:
        raise bad(f"query: {name}: {value[:100]!r} is not a size such as 500, 20k or 1.5M")
    return float(found[1]) * _UNITS[found[2].lower()]


def moment(name: str, value: str, zone: tzinfo | None) -> float:
    """A date, a date with a time, or seconds since 1970, as seconds since 1970.

    Args:
        name: the parameter, for the error.
        value: the text.
        zone: the zone of a time without one; None: this machine's.

    Raises:
        HTTPException: 400.
    """
    if _NUMBER.fullmatch(value):
        return float(value)
    for read in (datetime.fromisoformat, *(_reader(form) for form in _FORMATS)):
        try:
            found = read(value)
            return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
    raise bad(f"{name}: {value[:100]!r} is not a date such as 2026-01-31 or 2026-01-31T12:00:00Z")


def _reader(form: str) -> Callable[[str], datetime]:
    return lambda value: datetime.strptime(value, form)


def time_zone(name: str) -> tzinfo | None:
    """The time zone with this name; None for ``""``. Raises HTTPException: 400."""
    if not name:
        return None
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name[:100])
    except (KeyError, ValueError, OSError):
        raise bad(f"tz: {name[:100]!r} is not the name of a time zone") from None
