"""The summary of a message for a list: sender, recipients and subject, from the message's beginning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from maildir_safe._mail.addresses import Mailbox, addresses_text, mailboxes
from maildir_safe._mail.fields import LONGEST_HEADER, Fields, head_is_complete
from maildir_safe._mail.snippet import first_words
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._mail.words import clean, raw_text

_HEAD = 64 << 10
_ADDRESSEES = ("delivered-to", "x-original-to")
ENVELOPE = ("return-path", *_ADDRESSEES)
"""Fields that consist of one address, which is never decoded."""


@dataclass(slots=True)
class Summary:
    """A message in short. All values are plain text, not yet escaped for a page or a terminal.

    Attributes:
        sender, to, cc: mailboxes as shown: ``Ada <ada@example.com>``.
        name, address: name and address of the first sender.
        subject: the subject, decoded.
        date: the field Date, decoded.
        snippet: the first words of the text.
        attached: whether something is attached, as far as the beginning of the message shows.
        returns: the envelope's sender; None if unknown.
        envelope: the envelope's recipients.
    """

    sender: str = ""
    name: str = ""
    address: str = ""
    to: str = ""
    cc: str = ""
    subject: str = ""
    date: str = ""
    snippet: str = ""
    attached: bool = False
    returns: str | None = None
    envelope: list[str] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The approximate number of characters in the summary."""
        texts = (
            self.sender,
            self.name,
            self.address,
            self.to,
            self.cc,
            self.subject,
            self.date,
            self.snippet,
        )
        return sum(map(len, texts)) + sum(map(len, self.envelope))


def read_head(file: BinaryIO) -> bytes:
    """Read the beginning of a message, with its whole header if that is at most 1 MiB long."""
    head = file.read(_HEAD)
    if len(head) == _HEAD and not head_is_complete(head):
        head += file.read(LONGEST_HEADER - _HEAD)
    return head


def summarize(head: bytes) -> Summary:
    """The summary of a message, from its beginning."""
    structure = Structure(head)
    summary = summary_of(structure.parts[0].fields)
    summary.attached = any(map(_is_attached, structure.leaves()))
    summary.snippet = first_words(structure, head)
    return summary


def _is_attached(part: Part) -> bool:
    if part.disposition == "attachment" or part.content_type == "message/rfc822":
        return True
    is_body = part.parent is None and part.content_type.startswith("text/")
    return bool(part.filename) and not is_body and not part.fields.bytes_of("content-id")


def summary_of(fields: Fields) -> Summary:
    """The summary of a message, from its header."""
    senders = mailboxes(fields.bytes_of("from"), fields.charset)
    first = senders[0] if senders else Mailbox("", "")
    returns, envelope = _envelope(fields)
    return Summary(
        sender=addresses_text(senders),
        name=first.name or first.address,
        address=first.address,
        to=addresses_of(fields, "to"),
        cc=addresses_of(fields, "cc"),
        subject=fields.text("subject"),
        date=fields.text("date"),
        returns=returns,
        envelope=envelope,
    )


def addresses_of(fields: Fields, name: str) -> str:
    """The mailboxes in all fields with this (lower-case) name."""
    found = [value for key, value in fields.raw if key.lower() == name]
    return addresses_text(mailbox for value in found[:10] for mailbox in mailboxes(value, fields.charset))


def _envelope(fields: Fields) -> tuple[str | None, list[str]]:
    """The envelope, from the fields above the first Received: fields below may be forged by the sender."""
    returns, envelope = None, {}
    for name, value in fields.raw:
        lower = name.lower()
        if lower == "received":
            break
        if lower == "return-path":
            returns = clean(raw_text(value)).strip("<>")
        elif lower in _ADDRESSEES:
            envelope[clean(raw_text(value))] = True  # an address: as written, never decoded
    return returns, list(envelope)
