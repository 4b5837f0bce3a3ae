"""Addresses and parameters of MAIL and RCPT (RFC 5321 4.1.2, RFC 3461, RFC 6531). Pure.

The parser is lenient where real senders are (`root` without a domain, two dots in a local part, no
angle brackets), and strict where an address could do harm later: it accepts printable characters
only, so no control character of an address ever reaches a header line, a log line or a terminal.
A recipient must also be one that can exist: exactly one ``@``, text on both sides of it, a domain
without empty labels, a literal in complete brackets.
"""

from __future__ import annotations

import re

from maildir_safe._smtp.protocol.replies import BAD_RECIPIENT, BAD_SENDER, NEEDS_SMTPUTF8, Refused

MAX_ADDRESS = 320
"""Longest address in bytes: 64 for the local part, 255 for the domain (RFC 5321 4.5.3.1), and ``@``."""

# <@relay,@relay:local@domain>: the source route is read and dropped (RFC 5321, appendix C)
_PATH = re.compile(r'<(?:@[^:<>\s]*:)?((?:"(?:[^"\\]|\\.)*"|[^\s<>"\\])*)>(?:\s+(\S.*))?')
_BARE = re.compile(r"([^\s<>\"\\]+)(?:\s+(\S.*))?")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u00a0-\U0010ffff]+))?")
_MAILBOX = re.compile(
    r'(?:"(?:[^"\\]|\\.)*"|[^@"\\])+'  # the local part; an @ only in quotes
    r"(?:@(?:[^@\[\].\s]+(?:\.[^@\[\].\s]+)*\.?|\[[^@\[\]\s]+\]))?"  # labels, or a literal
)
_XTEXT = re.compile(r"\+([0-9A-Fa-f]{2})?")


class Path:
    """The parsed argument of MAIL or RCPT.

    Attributes:
        address: the address without angle brackets; ``""`` is the null sender.
        parameters: values of ESMTP parameters by upper-case name; ``""`` for a name without a value.
    """

    __slots__ = ("address", "parameters")

    def __init__(self, address: str, parameters: dict[str, str]) -> None:
        self.address = address
        self.parameters = parameters


def parse_sender(argument: str | None) -> Path:
    """Parse the argument of MAIL: ``FROM:<address> parameters``. Raises `Refused`."""
    path = _parse(argument, "FROM:", BAD_SENDER)
    utf8 = path.parameters.get("SMTPUTF8")
    if not path.address.isascii() and utf8 is None:
        raise Refused(NEEDS_SMTPUTF8)
    return path


def parse_recipient(argument: str | None, utf8: bool) -> Path:
    """Parse the argument of RCPT: ``TO:<address> parameters``. Raises `Refused`.

    Args:
        argument: the text after the verb.
        utf8: whether MAIL asked for SMTPUTF8.
    """
    path = _parse(argument, "TO:", BAD_RECIPIENT)
    if not _MAILBOX.fullmatch(path.address):
        raise Refused(BAD_RECIPIENT)
    if not path.address.isascii() and not utf8:
        raise Refused(NEEDS_SMTPUTF8)
    return path


def _parse(argument: str | None, keyword: str, malformed: str) -> Path:
    if argument is None or argument[: len(keyword)].upper() != keyword:
        raise Refused(f"501 5.5.4 Syntax: {keyword}<address>")
    text = argument[len(keyword) :].strip(" \t")
    match = (_PATH if text.startswith("<") else _BARE).fullmatch(text)
    if not match:
        raise Refused(malformed)
    address, rest = match.groups()
    # isprintable() is false for control, format, private and surrogate code points alike
    if not address.isprintable() or len(address.encode()) > MAX_ADDRESS:
        raise Refused(malformed)
    return Path(address, _parameters(rest) if rest else {})


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if not match or match[1].upper() in found:
            raise Refused("501 5.5.4 Malformed or repeated parameter")
        found[match[1].upper()] = match[2] or ""
    return found


def decode_xtext(text: str) -> str:
    """Decode the ``+HH`` of RFC 3461 xtext. Raises `Refused` unless the result is printable and not blank."""
    try:
        raw = _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
        decoded = raw.encode("latin-1").decode()
    except (TypeError, UnicodeError):  # TypeError: a plus sign without two digits
        decoded = ""
    if not decoded.strip() or not decoded.isprintable():
        raise Refused("501 5.5.4 Malformed parameter value")
    return decoded
