"""Parses address lists (RFC 5322 3.4, RFC 6531) for an envelope: what is unclear is an error.

The parser of `maildir_safe._mail`, which shows messages, guesses instead. A guess here would send mail
to somebody else, or not at all.
"""

from __future__ import annotations

from maildir_safe._submission import Rejected

MOST_RECIPIENTS = 10_000
"""Most addresses of one list, and most recipients of one message."""

_SPACE = " \t\r\n"
_SPECIAL = ",.:;<>@"
_NOT_IN_WORDS = frozenset(map(chr, (*range(0x21), 0x7F))) | frozenset('"()[]\\' + _SPECIAL)
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~.")
_LONGEST_PLAIN = 320
_SHOWN = 60  # characters of a list in an error


class Address:
    """An address of a list.

    Attributes:
        text: the address as written, without white space, comments and route.
        end: where in the list a missing domain belongs; None if the address has one.
        domain: where in the list the domain begins and ends; None if the address has none.
    """

    __slots__ = ("domain", "end", "text")

    def __init__(self, text: str, end: int | None, domain: tuple[int, int] | None = None) -> None:
        self.text = text
        self.end = end
        self.domain = domain


def addresses(text: str) -> list[Address]:
    """Parse a list of addresses: the value of a field such as To, folded or not, or a recipient argument.

    Raises:
        Rejected: the list is malformed, or has more than `MOST_RECIPIENTS` addresses.
    """
    return _Parser(text).parse()


def complete_address(address: str, domain: str) -> str:
    """Return an address with the domain appended if it has none.

    Raises:
        Rejected: it is not an address that could exist, or it is too long.
    """
    whole = address if _has_domain(address) else f"{address}@{domain}"
    if address and _is_plain(whole):
        return whole
    from maildir_safe._smtp.protocol.address import parse_recipient  # it needs `re`, which takes 3 ms
    from maildir_safe._smtp.protocol.replies import Refused

    try:
        path = parse_recipient(f"TO:<{whole}>", utf8=True)
    except Refused as error:
        raise Rejected(f"{address[:_SHOWN]!a} is not a valid address") from error
    if path.address != whole or path.parameters or not address:
        raise Rejected(f"{address[:_SHOWN]!a} is not a valid address")
    return whole


def _is_plain(address: str) -> bool:
    """Whether this is certainly an address: a local part and a domain of nothing but common characters."""
    local, _, host = address.rpartition("@")
    return (
        len(local) > 0
        and len(address) <= _LONGEST_PLAIN
        and all(host.split("."))
        and _PLAIN.issuperset(local)
        and _PLAIN.issuperset(host)
    )


def _has_domain(address: str) -> bool:
    return "@" in (address.rpartition('"')[2] if address.startswith('"') else address)


class _Parser:
    """Parses one list, in time proportional to its length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[Address] = []
        self._in_group = False
        self._begin()

    def _begin(self) -> None:
        self._words: list[str] = []
        self._end_at = self._domain_at = 0
        self._gap = False  # white space since the last word
        self._is_phrase = False  # two words stand side by side: a display name
        self._angle = ""  # "<" inside angle brackets, ">" after them

    def parse(self) -> list[Address]:
        at = 0
        while at < len(self._text):
            if self._text[at] == "(":
                at = self._after_comment(at)
                self._gap = True
                continue
            end = self._end_of_token(at)
            token = self._text[at:end]
            if token[0] in _SPACE:
                self._gap = True
            else:
                self._take(token, end)
            at = end
        if self._in_group:  # without its end nobody knows whom it names
            raise self._error()
        self._end()
        return self._found

    def _end_of_token(self, at: int) -> int:
        """Where the token ends that begins at `at`. Not by `re`, which takes 3 ms to import."""
        text, first = self._text, self._text[at]
        if first in _SPECIAL:
            return at + 1
        if first == '"':
            return self._after_quotes(at + 1)
        if first == "[":
            end = text.find("]", at)
            if end < 0 or any(c in "[\\" or c.isspace() for c in text[at + 1 : end]):
                raise self._error()
            return end + 1
        in_space = first in _SPACE
        end = at
        while end < len(text) and (text[end] in _SPACE if in_space else text[end] not in _NOT_IN_WORDS):
            end += 1
        if end == at:
            raise self._error()
        return end

    def _after_quotes(self, at: int) -> int:
        text = self._text
        while at < len(text):
            if text[at] == '"':
                return at + 1
            at += 2 if text[at] == "\\" else 1
        raise self._error()

    def _after_comment(self, at: int) -> int:
        text, depth = self._text, 0
        while at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 2 if text[at] == "\\" else 1
            if depth == 0:
                return at
        raise self._error()

    def _take(self, token: str, end: int) -> None:
        if self._angle == "<":
            if token == ">":
                self._angle = ">"
            elif token in "<;":
                raise self._error()
            else:
                self._append(token, end)
        elif token == "<" and not self._angle:
            self._begin()
            self._angle = "<"
        elif token in ",;":
            self._end()
            self._in_group = self._in_group and token == ","
        elif token == ":" and not self._in_group and not self._angle:
            if "@" in self._words:  # a group's name; an address here would be dropped
                raise self._error()
            self._begin()
            self._in_group = True
        elif self._angle or token in ":<>":
            raise self._error()
        else:
            self._append(token, end)

    def _append(self, token: str, end: int) -> None:
        if self._gap and self._words and self._words[-1] not in "@.:," and token not in "@.:,":
            self._is_phrase = True
        self._words.append(token)
        self._end_at, self._gap = end, False
        if token == "@":
            self._domain_at = end

    def _end(self) -> None:
        if self._words or self._angle:
            self._found.append(self._address())
            if len(self._found) > MOST_RECIPIENTS:
                raise Rejected(f"there are more than {MOST_RECIPIENTS} addresses")
        self._begin()

    def _address(self) -> Address:
        words = self._words
        if words[:1] == ["@"] and ":" in words:  # a route, RFC 5322 4.4
            words = words[len(words) - words[::-1].index(":") :]
        if self._angle == "<" or self._is_phrase or not words or {":", ","} & set(words):
            raise self._error()
        if "@" in words:
            return Address("".join(words), None, (self._domain_at, self._end_at))
        return Address("".join(words), self._end_at)

    def _error(self) -> Rejected:
        shown = " ".join(self._text[:_SHOWN].split())
        return Rejected(f"cannot understand the addresses {shown!a}")
