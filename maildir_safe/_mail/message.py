"""Parses a whole message for display: headers, text, HTML, attachments. The message is not trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from maildir_safe._mail.addresses import addresses_text, mailboxes
from maildir_safe._mail.charsets import decode
from maildir_safe._mail.fields import read_fields
from maildir_safe._mail.html import (
    MOST_IMAGES,
    data_address,
    decode_html,
    image_type,
    plain_text,
    with_images,
)
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._mail.summary import ENVELOPE, Summary, summary_of
from maildir_safe._mail.words import clean, field_text, raw_text

MOST_SHOWN = 500
"""Most header fields that are shown."""
_ADDRESSES = ("from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to")
_MOST_TEXT = 2 << 20
_STATUS = ("message/delivery-status", "message/global-delivery-status", "message/disposition-notification")


@dataclass(slots=True)
class Attachment:
    """A part to save.

    Attributes:
        number: the number by which the part is requested.
        name: the name that the sender chose. It is shown and proposed, never used as a path.
        content_type: the type, such as ``"image/png"``.
        size: bytes after decoding.
    """

    number: int
    name: str
    content_type: str
    size: int


@dataclass(slots=True)
class Mail:
    """A parsed message.

    Attributes:
        summary: the entry of a list.
        headers: the header fields in their order, decoded.
        text, html: the body as text and as HTML, decoded; None if there is none.
        attachments: all other parts, including attached messages and the parts of a delivery status.
        problem: why parts are missing, for people; ``""`` if all is here.
        images: the images that the HTML may show, as ``data:`` addresses by content id.
    """

    summary: Summary
    headers: list[tuple[str, str]] = field(default_factory=list)
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = field(default_factory=list)
    problem: str = ""
    images: dict[str, str] = field(default_factory=dict)

    @property
    def html_with_images(self) -> str | None:
        """The HTML body with the message's own images put in; None if there is none."""
        return None if self.html is None else with_images(self.html, self.images)

    @property
    def html_text(self) -> str:
        """The HTML body converted to plain text."""
        return plain_text(self.html) if self.html else ""

    @property
    def readable(self) -> str:
        """The text body; if there is none, the HTML body converted to plain text."""
        return self.text if self.text is not None else self.html_text


def read_mail(raw: bytes, images: bool = True) -> Mail:
    """Parse a message, as far as possible.

    Args:
        raw: the message.
        images: whether to decode the message's own images.
    """
    structure = Structure(raw)
    fields = structure.parts[0].fields
    mail = Mail(summary_of(fields), shown_headers(structure.parts[0]), problem=structure.problem)
    if len(fields.raw) > MOST_SHOWN:
        mail.problem = mail.problem or "it has too many header fields"
    text, page = _body(structure)
    if text is not None:
        mail.text = _text(raw, text)
    if page is not None:
        mail.html = decode_html(page.beginning(raw, _MOST_TEXT), page.parameters.get("charset", ""))
    if any(part and _longer(raw, part, _MOST_TEXT) for part in (text, page)):
        mail.problem = mail.problem or "its text is longer than 2 MiB"
    for part in structure.leaves():
        if part is text or part is page:
            continue
        if part.content_type in _STATUS:
            mail.text = f"{mail.text or ''}\n{_text(raw, part)}"
        mail.attachments.append(describe(raw, part))
        if images and mail.html is not None:
            _add_image(raw, part, mail.images)
    return mail


def _add_image(raw: bytes, part: Part, found: dict[str, str]) -> None:
    cid = part.fields.text("content-id").strip("<> ")
    if cid and part.content_type.startswith(("image/", "application/octet-")):
        data = part.beginning(raw, MOST_IMAGES // 2)
        kind = image_type(part.content_type, data)
        if kind and len(data) < MOST_IMAGES // 2:
            found[cid] = data_address(kind, data)


def shown_headers(message: Part) -> list[tuple[str, str]]:
    """A message's header fields, decoded for people. Addresses in them are never decoded."""
    charset = message.fields.charset
    return [
        (name, _shown(name.lower(), value, charset)) for name, value in islice(message.fields.raw, MOST_SHOWN)
    ]


def _shown(name: str, value: bytes, charset: str) -> str:
    if name in _ADDRESSES:
        return addresses_text(mailboxes(value, charset))
    return clean(raw_text(value)) if name in ENVELOPE else field_text(value, charset)


def describe(raw: bytes, part: Part) -> Attachment:
    """Describe a part that can be saved."""
    name = clean(part.filename)
    if not name and part.content_type == "message/rfc822":
        subject = read_fields(part.beginning(raw, 64 << 10))[0].text("subject")
        name = f"{subject[:100] or f'message-{part.number}'}.eml"
    if not name:
        kind = part.content_type.partition("/")[2]
        name = f"part-{part.number}.{kind}"
    size = sum(map(len, part.content(raw)))
    return Attachment(part.number, name, part.content_type, size)


def find_part(raw: bytes, number: int) -> Part:
    """The part with this number. Raises KeyError if there is none, or if it cannot be saved."""
    for part in Structure(raw).leaves():
        if part.number == number:
            return part
    raise KeyError(number)


def _body(structure: Structure) -> tuple[Part | None, Part | None]:
    """Find the parts that are the text and the HTML of a message.

    A part with a file name is an attachment, unless no other part can be the body.
    """
    found: dict[str, Part] = {}
    named: dict[str, Part] = {}
    for part in structure.leaves():
        if part.disposition != "attachment":
            (named if part.filename else found).setdefault(part.content_type, part)
    text, page = found.get("text/plain"), found.get("text/html")
    if text is None and page is None:
        return named.get("text/plain"), named.get("text/html")
    return text, page


def _text(raw: bytes, part: Part) -> str:
    return decode(part.beginning(raw, _MOST_TEXT), part.parameters.get("charset", ""))


def _longer(raw: bytes, part: Part, most: int) -> bool:
    length = 0
    return any((length := length + len(piece)) > most for piece in part.content(raw))
