"""A received message for tests: an `EmailMessage` into which any message can be parsed.

The standard library's own reading of headers takes minutes for some, raises on others and gives halves of
characters; here headers are read as everywhere in this package (`maildir_safe._mail`).
"""

from __future__ import annotations

import email.parser
import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import parsedate_to_datetime
from typing import Any, cast

from maildir_safe._mail.addresses import Mailbox, addresses_text, mailboxes
from maildir_safe._mail.charsets import decode
from maildir_safe._mail.fields import LONGEST_HEADER
from maildir_safe._mail.parameters import value_and_parameters
from maildir_safe._mail.structure import Structure
from maildir_safe._mail.transfer import coding_of
from maildir_safe._mail.words import field_text

_ADDRESSES = ("from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc")
_LONGEST_PARSED = 2000
# what makes the standard library's parser quadratic: lines times parts inside parts, long content fields
_NESTING = re.compile(rb"multipart/|message/", re.IGNORECASE)
_LONG_FIELD = re.compile(rb"^content-[^\n:]*:(?:[^\n]|\n[ \t]){16384}", re.MULTILINE | re.IGNORECASE)
_SECTION = re.compile(rb"[A-Za-z]\*[0-9]{1,9}\*?=")  # of a parameter, RFC 2231
_MOST_SECTIONS = 2000
_MOST_LINES = 1_000_000
_MOST_NESTING = 200
_MOST_LINES_NESTED = 4_000_000


class Text(str):
    """A header's text.

    Attributes:
        name: the header's name.
    """

    name = ""
    defects: tuple[Exception, ...] = ()


class AddressText(Text):
    """The text of a header with addresses, such as From and To."""

    mailboxes: list[Mailbox] = []

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The mailboxes, each as `email.headerregistry.Address`."""
        found = []
        for mailbox in self.mailboxes:
            local, _, domain = mailbox.address.rpartition("@")
            found.append(Address(mailbox.name, local or domain, domain if local else ""))
        return tuple(found)


class DateText(Text):
    """The text of Date."""

    @property
    def datetime(self) -> datetime | None:
        """The time, or None if the header is not a date."""
        try:
            return parsedate_to_datetime(self)
        except (ValueError, IndexError, TypeError):
            return None


class ContentText(Text):
    """The text of Content-Type and Content-Disposition."""

    content_disposition = ""
    params: dict[str, str] = {}


class ReceivedMessage(EmailMessage):
    """A message as it was sent. The headers that the server put on top are attributes here.

    Attributes:
        sender: of the envelope (MAIL FROM); ``""`` is the null sender.
        recipients: of the envelope (RCPT TO), in their order; Bcc too.
        raw: the message as sent, with LF line ends.
        key: its key in the Maildir.
        mailbox: the name of that Maildir, such as ``ada@example.com``; ``""`` if there is only one.
        problem: why its parts are not told apart (`raw` has them); ``""`` if they are.
    """

    sender: str = ""
    recipients: list[str] = []
    raw: bytes = b""
    key: str = ""
    mailbox: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        return f"<{self.sender!r} to {', '.join(self.recipients)}: {str(self['Subject'] or '')!r}>"

    def get_filename(self, failobj: Any = None) -> Any:
        """Return the name of an attachment, in any encoding; `failobj` if it has none."""
        for header, parameter in (("content-disposition", "filename"), ("content-type", "name")):
            raw = next((value for name, value in self.raw_items() if name.lower() == header), "")
            name = value_and_parameters(_bytes(str(raw)))[1].get(parameter)
            if name:
                return name
        return failobj

    def get_content(self, *args: Any, **kwargs: Any) -> Any:
        """Return the content as `EmailMessage.get_content` does; text in an unknown charset is still text."""
        try:
            return super().get_content(*args, **kwargs)
        except (LookupError, ValueError):
            data = self.get_payload(decode=True)
            if self.get_content_maintype() != "text" or not isinstance(data, bytes):
                raise
            return decode(data, str(self.get_param("charset", "")))


def received_message(raw: bytes) -> ReceivedMessage:
    """Parse a message; never raises, and takes a few seconds at most.

    Args:
        raw: with LF line ends.
    """
    problem = _problem(raw)
    parser = email.parser.BytesParser(ReceivedMessage, policy=_POLICY)
    try:
        beginning = raw[:LONGEST_HEADER] if problem else raw
        message = cast(ReceivedMessage, parser.parsebytes(beginning, headersonly=bool(problem)))
    except Exception as error:  # noqa: BLE001 - what it raises on broken MIME is not written down anywhere
        message = ReceivedMessage(policy=_POLICY)
        problem = f"it cannot be parsed ({type(error).__name__})"
    message.raw, message.problem = raw, problem
    return message


def _problem(raw: bytes) -> str:
    """Return why the standard library's parser must not parse this message."""
    lines = raw.count(b"\n")
    if lines > _MOST_LINES:
        return "it has too many lines"
    if sum(1 for _ in _SECTION.finditer(raw)) > _MOST_SECTIONS:
        return "it has too many sections of parameters"
    nesting = sum(1 for _ in _NESTING.finditer(raw))
    if nesting > _MOST_NESTING or nesting * lines > _MOST_LINES_NESTED:
        return "it has too many parts in parts"
    if _LONG_FIELD.search(raw):
        return "it has a header field that is too long"
    return Structure(raw).problem


class _Policy(EmailPolicy):
    """`email.policy.default`, with headers read by `maildir_safe._mail`."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """Return a header's text as an instance of the class for headers of this name."""
        if hasattr(value, "name"):
            return value  # set by the test itself
        lower, raw = name.lower(), _bytes(value)
        if lower in _ADDRESSES:
            found = mailboxes(raw)
            text = _named(AddressText, name, addresses_text(found))
            text.mailboxes = found
            return text
        if lower == "content-transfer-encoding":
            return _named(Text, name, coding_of(field_text(raw)))
        if lower in ("content-type", "content-disposition"):
            return self._content(name, value, raw)
        return _named(DateText if lower == "date" else Text, name, field_text(raw))

    def _content(self, name: str, value: str, raw: bytes) -> Any:
        if len(value) <= _LONGEST_PARSED:
            try:
                return super().header_fetch_parse(name, value)
            except Exception:  # noqa: BLE001, S110 - malformed input fails in many ways
                pass
        text = _named(ContentText, name, field_text(raw)[:_LONGEST_PARSED])
        text.content_disposition, text.params = value_and_parameters(raw)
        return text


def _named(kind: type[Any], name: str, text: str) -> Any:
    made = kind(text)
    made.name = name
    return made


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


_POLICY = _Policy()
