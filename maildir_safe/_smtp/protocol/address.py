"""Addresses and parameters of MAIL and RCPT (RFC 5321 4.1.2, RFC 3461, RFC 6531). Pure.

Lenient where real senders are (`root` without a domain, two dots in a row, no angle brackets),
strict where an address could do harm further on: nothing that is not printable passes, so no
header line, log line or terminal ever sees a control character from an address.
"""

from __future__ import annotations

import re

from maildir_safe._smtp.protocol.replies import BAD_RECIPIENT, BAD_SENDER, NEEDS_SMTPUTF8, Refused

MAX_ADDRESS = 320
"""Longest address in bytes: 64 for the local part, 255 for the domain (RFC 5321 4.5.3.1), and ``@``."""

# <@relay,@relay:local@domain>: the source route is read and dropped (RFC 5321, appendix C)
_PATH = re.compile(r'<(?:@[^:<>\s]*:)?((?:"(?:[^"\\]|\\.)*"|[^\s<>"\\])*)>(?:\s+(\S.*))?')
_BARE = re.compile(r"([^\s<>\"\\]+)(?:\s+(\S.*))?")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_NOTIFY = {"SUCCESS", "FAILURE", "DELAY"}


class Path:
    """One MAIL or RCPT argument, taken apart.

    Attributes:
        address: without angle brackets; ``""`` is the null sender.
        parameters: ESMTP parameters by upper-case name; ``""`` where none was given.
    """

    __slots__ = ("address", "parameters")

    def __init__(self, address: str, parameters: dict[str, str]) -> None:
        self.address = address
        self.parameters = parameters


def parse_sender(argument: str | None) -> Path:
    """The argument of MAIL: ``FROM:<address> parameters``. Raises `Refused`."""
    path = _parse(argument, "FROM:", BAD_SENDER)
    utf8 = path.parameters.get("SMTPUTF8")
    if not path.address.isascii() and utf8 is None:
        raise Refused(NEEDS_SMTPUTF8)
    return path


def parse_recipient(argument: str | None, utf8: bool) -> Path:
    """The argument of RCPT: ``TO:<address> parameters``. Raises `Refused`.

    Args:
        argument: what followed the verb.
        utf8: whether SMTPUTF8 was asked for at MAIL.
    """
    path = _parse(argument, "TO:", BAD_RECIPIENT)
    if not path.address:
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


def check_sender_parameters(parameters: dict[str, str], limit: int) -> None:
    """Refuse MAIL parameters that are wrong or unknown; a SIZE over `limit` bytes is 552.

    BODY (RFC 6152), SMTPUTF8 (RFC 6531), SIZE (RFC 1870), RET and ENVID (RFC 3461), AUTH (RFC 4954).
    """
    for name, value in parameters.items():
        if name == "SIZE":
            if not (value.isascii() and value.isdigit()) or len(value) > 20:
                raise Refused("501 5.5.4 SIZE takes a number of bytes")
            if int(value) > limit:
                raise Refused("552 5.3.4 Message is larger than this server takes")
        elif name == "BODY":
            if value.upper() not in ("7BIT", "8BITMIME"):
                raise Refused("501 5.5.4 BODY is 7BIT or 8BITMIME")
        elif name == "SMTPUTF8":
            if value:
                raise Refused("501 5.5.4 SMTPUTF8 takes no value")
        elif name == "RET":
            if value.upper() not in ("FULL", "HDRS"):
                raise Refused("501 5.5.4 RET is FULL or HDRS")
        elif name in ("ENVID", "AUTH"):
            decode_xtext(value)
        else:
            raise Refused("555 5.5.4 Unknown MAIL parameter")


def check_recipient_parameters(parameters: dict[str, str]) -> str | None:
    """Refuse RCPT parameters that are wrong or unknown; return the original recipient, if given.

    NOTIFY and ORCPT (RFC 3461). What they ask for is not acted upon: nothing leaves this server,
    so it sends no delivery reports.
    """
    original = None
    for name, value in parameters.items():
        if name == "NOTIFY":
            words = value.upper().split(",")
            if words != ["NEVER"] and not _NOTIFY.issuperset(words):
                raise Refused("501 5.5.4 NOTIFY is NEVER or some of SUCCESS,FAILURE,DELAY")
        elif name == "ORCPT":
            kind, _, address = value.partition(";")
            if not kind or not address:
                raise Refused("501 5.5.4 ORCPT is type;address")
            original = decode_xtext(address)
        else:
            raise Refused("555 5.5.4 Unknown RCPT parameter")
    return original


def decode_xtext(text: str) -> str:
    """Undo the ``+HH`` of RFC 3461 xtext; `Refused` unless the result is not empty and printable."""
    raw = _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
    try:
        decoded = raw.encode("latin-1").decode()
    except UnicodeError:
        decoded = ""
    if not decoded or not decoded.isprintable():
        raise Refused("501 5.5.4 Malformed parameter value")
    return decoded
