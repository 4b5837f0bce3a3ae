"""What is in a message, as safe to show: headers, text, HTML, attachments. Nothing here trusts it.

A message that Python's parser cannot take apart, or would need too much time and memory for, is
still shown by its source. What can be long, deep or many has a limit here.
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
from itertools import islice
from urllib.parse import unquote

_MOST_PARTS = 1000
_MOST_MARKS = 100_000
_MOST_LINES = 2_000_000
_MOST_HEADERS = 500
_LONGEST_DECODED = 4096
_LONGEST_FIELD = 16 << 10
_MOST_INLINE = 20 << 20
_MOST_TEXT = 2 << 20
_ADDRESSEES = ("delivered-to", "x-original-to")
_SLOW_CHARSETS = ("punycode", "idna")  # quadratic; no message is written in them
# what the parser makes an object of: the beginning of a part, a header
_MARK = re.compile(rb"^(?:--|[!-9;-~]+:)", re.MULTILINE)
# what it splits in quadratic time
_FIELD = re.compile(rb"^content-[!-9;-~]+:(.*(?:\r?\n[ \t].*)*+)", re.MULTILINE | re.IGNORECASE)


@dataclass(slots=True)
class Summary:
    """A line of the list. All are plain text, not yet escaped for a page.

    Attributes:
        returns: the envelope's sender; None if that is not known.
        envelope: the envelope's recipients.
    """

    sender: str = ""
    to: str = ""
    subject: str = ""
    date: str = ""
    returns: str | None = None
    envelope: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The sender's name, or the address where there is no name."""
        try:
            name, address = parseaddr(self.sender[:_LONGEST_DECODED])
        except RecursionError:  # a comment in a comment in a comment ...
            return self.sender
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
        broken: why not all of it is here; its source can be shown all the same.
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
        if len(raw) > _LONGEST_DECODED:
            raise ValueError
        chunks = [
            piece.decode(_charset(charset or "ascii"), "replace") if isinstance(piece, bytes) else piece
            for piece, charset in decode_header(raw)
        ]
        raw = "".join(chunks)
    except (LookupError, ValueError, email.errors.HeaderParseError):
        pass
    try:
        raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        raw = _whole(raw)
    return "".join(c if c.isprintable() else " " for c in raw).strip()


def summarize(head: bytes) -> Summary:
    """The list's line for a message, from its first bytes."""
    end = min((at for at in (head.find(b"\n\n"), head.find(b"\r\n\r\n")) if at >= 0), default=len(head))
    return _summary(email.message_from_bytes(head[: end + 1], policy=email.policy.compat32))


def _summary(message: EmailMessage) -> Summary:
    names = {name: header_text(message.get(name, "")) for name in ("from", "to", "subject", "date")}
    returns, envelope = None, []
    for name, value in islice(message.items(), _MOST_HEADERS):
        if name.lower() == "received":
            break  # what stands below was there before this delivery, and anybody can write it
        if name.lower() == "return-path":
            returns = header_text(value).strip("<>")
        elif name.lower() in _ADDRESSEES:
            envelope.append(header_text(value))
    return Summary(
        names["from"], names["to"], names["subject"], names["date"], returns, list(dict.fromkeys(envelope))
    )


def take_apart(raw: bytes) -> Mail:
    """A message's parts, as far as they can be told."""
    mail = Mail(summarize(raw[: 1 << 16]))
    mail.broken = _too_much(raw)
    if mail.broken:
        return mail
    try:
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        headers = islice(message.items(), _MOST_HEADERS)
        mail.headers = [(header_text(name), header_text(value)) for name, value in headers]
        _walk(message, mail)
    except (RecursionError, ValueError, LookupError, AssertionError, TypeError, AttributeError) as error:
        # what the email package raises on broken MIME is not written down anywhere
        mail.broken = f"its parts cannot be told apart ({type(error).__name__})"
    return mail


def _too_much(raw: bytes) -> str:
    """Why this message is not given to the parser, which would take minutes or gigabytes."""
    if raw.count(b"\n") > _MOST_LINES:
        return "it has too many lines"
    if next(islice(_MARK.finditer(raw), _MOST_MARKS, None), None):
        return "it has too many headers or parts"
    if any(len(found[1]) > _LONGEST_FIELD for found in _FIELD.finditer(raw)):
        return "it has a header that is too long"
    return ""


def _walk(message: EmailMessage, mail: Mail) -> None:
    images: dict[str, str] = {}
    for number, part in _leaves(message):
        if number >= _MOST_PARTS:
            mail.broken = f"it has more than {_MOST_PARTS} parts"
            break
        kind, name = part.get_content_type(), part.get_filename()
        data = content(part)
        if part.get_content_disposition() != "attachment" and not name:
            if kind == "text/plain" and mail.text is None:
                mail.text = _decoded(part, data)
                continue
            if kind == "text/html" and mail.html is None:
                mail.html = _decoded(part, data)
                continue
        cid = str(part.get("content-id", "")).strip().strip("<>")
        if cid and kind.startswith("image/") and kind != "image/svg+xml" and len(data) <= _MOST_INLINE // 2:
            images[cid] = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        shown = header_text(name or f"part-{number}.{part.get_content_subtype()}")
        mail.attachments.append(Attachment(number, shown, kind, len(data)))
    if mail.html is not None and images:
        mail.html = _with_images(mail.html, images)


def _with_images(html: str, images: dict[str, str]) -> str:
    """The HTML with its own images put in, while there is room: one may be named a million times."""
    room = _MOST_INLINE

    def image(found: re.Match[str]) -> str:
        nonlocal room
        data = images.get(unquote(found[1]), "")
        room -= len(data)
        return data if data and room > 0 else found[0]

    return re.sub(r"cid:([^\"'\s>)]{1,500})", image, html)


def _leaves(message: EmailMessage) -> Iterator[tuple[int, EmailMessage]]:
    for number, part in enumerate(message.walk()):
        if not part.is_multipart():
            yield number, part


def content(part: EmailMessage) -> bytes:
    """A part's decoded bytes; what cannot be decoded, as it stands."""
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")


def _decoded(part: EmailMessage, data: bytes) -> str:
    charset = _charset(part.get_content_charset() or "utf-8")
    try:
        text = data[:_MOST_TEXT].decode(charset, "replace")
    except (LookupError, ValueError):
        text = data[:_MOST_TEXT].decode("utf-8", "replace")
    return _whole(text)


def _whole(text: str) -> str:
    """Text without halves of characters (surrogates), which UTF-7 can name and no page can show."""
    return text.encode("utf-8", "replace").decode()


def _charset(name: str) -> str:
    return "utf-8" if name.lower() in _SLOW_CHARSETS else name


def search_text(head: bytes) -> str:
    """The text of a message to search in, from its first bytes: decoded, if it is short enough to do so."""
    plain = head.decode("utf-8", "replace")
    if b"\ncontent-transfer-encoding: " in head.lower() and len(head) < 1 << 16:
        mail = take_apart(head)
        plain += f"\n{mail.text or ''}\n{mail.html or ''}"
    return plain


def attachment(raw: bytes, number: int) -> tuple[Attachment, bytes]:
    """One part of a message by its number; KeyError if there is none."""
    if _too_much(raw):
        raise KeyError(number)
    for at, part in _leaves(email.message_from_bytes(raw, policy=email.policy.compat32)):
        if at == number:
            data = content(part)
            name = header_text(part.get_filename() or f"part-{at}.{part.get_content_subtype()}")
            return Attachment(at, name, part.get_content_type(), len(data)), data
    raise KeyError(number)
