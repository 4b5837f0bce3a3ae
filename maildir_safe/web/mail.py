"""What is in a message, as safe to show: headers, text, HTML, attachments. Nothing here trusts it.

A message that Python's parser cannot take apart is still shown, by its source.
"""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.header import decode_header
from email.message import Message as EmailMessage
from email.utils import parseaddr
from urllib.parse import unquote

_MOST_PARTS = 200
_MOST_INLINE = 5 << 20
_MOST_TEXT = 2 << 20
_ADDRESSEES = ("delivered-to", "x-original-to")


@dataclass(slots=True)
class Summary:
    """A line of the list. All are plain text, not yet escaped for a page."""

    sender: str = ""
    to: str = ""
    subject: str = ""
    date: str = ""
    envelope: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The sender's name, or the address where there is no name."""
        name, address = parseaddr(self.sender)
        return name or address or self.sender

    def texts(self) -> list[str]:
        """All of it, to search in."""
        return [self.sender, self.to, self.subject, *self.envelope]


@dataclass(slots=True)
class Attachment:
    """A part to download.

    Attributes:
        number: its place among all parts, by which it is asked for.
        name: as the sender called it: never a path here, only shown and offered.
        size: bytes when decoded.
    """

    number: int
    name: str
    content_type: str
    size: int


@dataclass(slots=True)
class Mail:
    """A message taken apart.

    Attributes:
        headers: in their order, decoded.
        broken: why it could not be taken apart; its source can be shown all the same.
    """

    summary: Summary
    headers: list[tuple[str, str]] = field(default_factory=list)
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = field(default_factory=list)
    broken: str = ""


def header_text(value: object) -> str:
    """A header as people read it: encoded words decoded, lines joined, controls made visible."""
    raw = str(value)
    try:
        pieces = [
            piece.decode(charset or "ascii", "replace") if isinstance(piece, bytes) else piece
            for piece, charset in decode_header(raw)
        ]
        raw = "".join(pieces)
    except (LookupError, ValueError, email.errors.HeaderParseError):
        pass
    raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in raw).strip()


def summarize(head: bytes) -> Summary:
    """The list's line for a message, from its first bytes."""
    end = min((at for at in (head.find(b"\n\n"), head.find(b"\r\n\r\n")) if at >= 0), default=len(head))
    return _summary(email.message_from_bytes(head[: end + 1], policy=email.policy.compat32))


def _summary(message: EmailMessage) -> Summary:
    names = {name: header_text(message.get(name, "")) for name in ("from", "to", "subject", "date")}
    envelope = [header_text(value) for name in _ADDRESSEES for value in message.get_all(name, [])]
    return Summary(names["from"], names["to"], names["subject"], names["date"], list(dict.fromkeys(envelope)))


def take_apart(raw: bytes) -> Mail:
    """A message's parts, as far as they can be told."""
    mail = Mail(summarize(raw[: 1 << 16]))
    try:
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        mail.headers = [(header_text(name), header_text(value)) for name, value in message.items()]
        _walk(message, mail)
    except (RecursionError, ValueError, LookupError, AssertionError, TypeError, AttributeError) as error:
        # what the email package raises on broken MIME is not written down anywhere
        mail.broken = f"its parts cannot be told apart ({type(error).__name__})"
    return mail


def _walk(message: EmailMessage, mail: Mail) -> None:
    images: dict[str, str] = {}
    for number, part in _leaves(message):
        kind, name = part.get_content_type(), part.get_filename()
        data = content(part)
        if part.get_content_disposition() != "attachment" and not name:
            if kind == "text/plain" and mail.text is None:
                mail.text = _decoded(part, data)
                continue
            if kind == "text/html" and mail.html is None:
                mail.html = _decoded(part, data)
                continue
        cid = part.get("content-id", "").strip().strip("<>")
        if cid and kind.startswith("image/") and kind != "image/svg+xml" and len(data) <= _MOST_INLINE:
            images[cid] = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        shown = header_text(name or f"part-{number}.{part.get_content_subtype()}")
        mail.attachments.append(Attachment(number, shown, kind, len(data)))
    if mail.html is not None and images:
        mail.html = re.sub(
            r"cid:([^\"'\s>)]+)", lambda found: images.get(unquote(found[1]), found[0]), mail.html
        )


def _leaves(message: EmailMessage) -> Iterator[tuple[int, EmailMessage]]:
    for number, part in enumerate(message.walk()):
        if number >= _MOST_PARTS:
            return
        if not part.is_multipart():
            yield number, part


def content(part: EmailMessage) -> bytes:
    """A part's decoded bytes; what cannot be decoded, as it stands."""
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")


def _decoded(part: EmailMessage, data: bytes) -> str:
    charset = part.get_content_charset() or "utf-8"
    try:
        return data[:_MOST_TEXT].decode(charset, "replace")
    except LookupError:
        return data[:_MOST_TEXT].decode("utf-8", "replace")


def attachment(raw: bytes, number: int) -> tuple[Attachment, bytes]:
    """One part of a message by its number; KeyError if there is none."""
    for at, part in _leaves(email.message_from_bytes(raw, policy=email.policy.compat32)):
        if at == number:
            data = content(part)
            name = header_text(part.get_filename() or f"part-{at}.{part.get_content_subtype()}")
            return Attachment(at, name, part.get_content_type(), len(data)), data
    raise KeyError(number)
