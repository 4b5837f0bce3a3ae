"""Makes what a program gave to `sendmail` a complete message with an envelope (RFC 6409)."""

from __future__ import annotations

from maildir_safe._delivery.content import gap
from maildir_safe._delivery.trace_headers import date
from maildir_safe._submission import USAGE, Rejected
from maildir_safe._submission.fields import Field, split
from maildir_safe._submission.mailbox_list import MOST_RECIPIENTS, addresses, complete_address
from maildir_safe._submission.spool import MAX_HOPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_DROPPED = {b"bcc", b"resent-bcc", b"return-path"}
_RECIPIENTS = (b"to", b"cc", b"bcc")
_PLAIN_NAME = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~ -"
)  # characters that need no quotes
_WORD_BYTES = 42  # 56 characters of base64: an encoded word has 75 at most


class Submitted:
    """A message as a program gave it, with LF line ends.

    Args:
        message: the message.
        domain: completes addresses without a domain.
        masked: changes addresses of senders in the header (`Settings.masked`); None: they stay.

    Raises:
        Rejected: it has gone through too many mail servers.
    """

    def __init__(self, message: bytes, domain: str, masked: Callable[[str], str] | None = None) -> None:
        self._masked = masked
        mbox_line = gap(message).strip()  # a field then; what is no field at all is the body in any case
        self._fields, self._rest = split(mbox_line + b" " + message if mbox_line else message)
        self._domain = domain
        self._names = {field.name for field in self._fields}
        hops = sum(field.name == b"received" for field in self._fields)
        if hops >= MAX_HOPS:
            raise Rejected(f"the message loops: it has {hops} Received fields")
        # Resent fields are the envelope of a message that somebody passes on as it is (RFC 5322 3.6.6)
        self._prefix = b"resent-" if self._names & {b"resent-" + name for name in _RECIPIENTS} else b""

    def recipients(self) -> list[str]:
        """The recipients that To, Cc and Bcc name, or Resent-To, Resent-Cc and Resent-Bcc if there are any.

        Raises:
            Rejected: a field is malformed, or there is no recipient, or there are too many.
        """
        wanted = {self._prefix + name for name in _RECIPIENTS}
        values = [field.value for field in self._fields if field.name in wanted]
        found = recipients(values, self._domain)
        if not found:
            raise Rejected("the header names no recipient")
        return found

    def completed(self, sender: str, name: str, now: float, unique: str) -> tuple[bytes, ...]:
        """The message: without Bcc and Return-Path, with From, Date and Message-ID.

        Args:
            sender: the address for From.
            name: the display name for From; ``""`` for none.
            now: seconds since 1970.
            unique: the local part of the message id.
        """
        added = {
            b"from": f"From: {mailbox(name, sender)}",
            b"date": f"Date: {date(now)}",
            b"message-id": f"Message-ID: <{unique}@{self._domain}>",
        }
        before = "Resent-" if self._prefix else ""
        lines = [
            f"{before}{line}\n".encode("utf-8", "surrogateescape")
            for field, line in added.items()
            if self._prefix + field not in self._names
        ]
        kept = [self._kept(field) for field in self._fields if field.name not in _DROPPED]
        top = lines if self._prefix else []  # Resent fields stand above the message that they are about
        return b"".join([*top, *kept, *([] if self._prefix else lines)]), self._rest

    def _kept(self, field: Field) -> bytes:
        return field.completed(self._domain, self._masked)


def recipients(lists: Iterable[str], domain: str) -> list[str]:
    """The addresses of several lists, each once.

    Raises:
        Rejected: a list is malformed, or there are more than `MOST_RECIPIENTS`.
    """
    found: dict[str, None] = {}
    for text in lists:
        for address in addresses(text):
            found[complete_address(address.text, domain)] = None
        if len(found) > MOST_RECIPIENTS:
            raise Rejected(f"there are more than {MOST_RECIPIENTS} recipients")
    return list(found)


def sender(text: str, domain: str) -> str:
    """The envelope sender from an argument; ``""`` and ``<>`` are the null sender.

    Raises:
        Rejected: it is not exactly one address, or has a control character.
    """
    if not text.isprintable():  # a new line is no white space between the words of an argument
        raise Rejected(f"the sender {text[:60]!a} has a control character", USAGE)
    if text.strip() in ("", "<>"):
        return ""
    found: Sequence[str] = recipients([text], domain)
    if len(found) != 1:
        raise Rejected(f"the sender {text[:60]!a} is not one address", USAGE)
    return found[0]


def mailbox(name: str, address: str) -> str:
    """A mailbox for a header; the name is quoted or encoded (RFC 2047) as it needs to be."""
    name = "".join(c for c in name.strip() if c.isprintable())[:200]
    if not name:
        return address
    if not name.isascii():
        name = _encoded(name)
    elif not _PLAIN_NAME.issuperset(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def _encoded(text: str) -> str:
    from binascii import b2a_base64

    words, piece = [], b""
    for c in text:
        if len(piece) + len(c.encode()) > _WORD_BYTES:
            words.append(piece)
            piece = b""
        piece += c.encode()
    return "\n ".join(f"=?utf-8?B?{b2a_base64(word, newline=False).decode()}?=" for word in (*words, piece))
