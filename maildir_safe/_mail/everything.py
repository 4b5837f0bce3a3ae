"""A message as it is searched: every text part and every name in it, decoded, at any length up to a limit."""

from __future__ import annotations

from dataclasses import dataclass, field

from maildir_safe._mail.addresses import Mailbox, mailboxes
from maildir_safe._mail.charsets import decode
from maildir_safe._mail.html import decode_html, plain_text
from maildir_safe._mail.message import shown_headers
from maildir_safe._mail.snippet import one_line
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._mail.summary import Summary, summary_of
from maildir_safe._mail.words import clean

MOST_TEXT = 4 << 20
"""Most bytes of a message's text parts, decoded and all together, that are searched."""
_MOST_HTML = 1 << 20
_MOST_FIELDS_OF_ONE_NAME = 10


@dataclass(slots=True)
class Everything:
    """What a search looks at.

    Attributes:
        summary: the entry of a list.
        structure: the parts.
        body: the text of all text parts. HTML is converted to plain text.
        snippet: the beginning of the body as a person reads it, on one line.
        cut: whether some of the text was left out.
    """

    summary: Summary
    structure: Structure
    body: str
    snippet: str
    cut: bool
    names: list[str] = field(default_factory=list)

    def mailboxes(self, name: str) -> list[Mailbox]:
        """The mailboxes in the fields with this (lower-case) name."""
        fields = self.structure.parts[0].fields
        found = [value for key, value in fields.raw if key.lower() == name][:_MOST_FIELDS_OF_ONE_NAME]
        return [mailbox for value in found for mailbox in mailboxes(value, fields.charset)]

    def text(self, name: str) -> str:
        """The first field with this (lower-case) name, decoded."""
        return self.structure.parts[0].fields.text(name)

    @property
    def attached(self) -> list[Part]:
        """The parts that are attached: those with a name or marked so, and not shown within the text."""
        return [part for part in self.structure.leaves() if is_attachment(part) and not is_inline(part)]

    @property
    def inline(self) -> list[Part]:
        """The parts that are shown within the text, such as a page's images."""
        return [part for part in self.structure.leaves() if is_inline(part)]


def read_everything(raw: bytes, longest_snippet: int = 250, deep: int = 3) -> Everything:
    """Read a message for a search. Takes time in proportion to its length.

    Args:
        raw: the message.
        longest_snippet: most characters of the snippet.
        deep: how many levels of attached messages are read too.
    """
    structure = Structure(raw)
    room = MOST_TEXT
    texts: list[str] = []
    cut = bool(structure.problem)
    first = page = ""
    for part in structure.leaves():
        if not part.content_type.startswith(("text/", "message/")):
            continue
        data = part.beginning(raw, room)
        room -= len(data)
        if part.content_type == "message/rfc822":
            text = _attached_text(data, deep)
        elif part.content_type == "text/html":
            text = plain_text(decode_html(data[:_MOST_HTML], part.parameters.get("charset", "")))
            page = page or text
            cut = cut or len(data) > _MOST_HTML
        else:
            text = decode(data, part.parameters.get("charset", ""))
            first = first or (text if part.content_type == "text/plain" else "")
        texts.append(text)
        if room <= 0:
            cut = True
            break
    summary = summary_of(structure.parts[0].fields)
    names = [clean(part.filename) for part in structure.leaves() if part.filename]
    return Everything(
        summary, structure, "\n".join(texts), one_line(page or first, longest_snippet), cut, names
    )


def is_inline(part: Part) -> bool:
    """Whether a part is shown within the text: it has a Content-ID, or a name and is marked inline."""
    if part.parent is None or part.disposition == "attachment":
        return False
    named = bool(part.filename)
    if part.content_type in ("text/plain", "text/html") and not named:
        return False
    return bool(part.fields.bytes_of("content-id")) or (part.disposition == "inline" and named)


def is_attachment(part: Part) -> bool:
    """Whether a part is neither the message's text nor a part of it that is shown."""
    if part.disposition == "attachment" or part.content_type == "message/rfc822":
        return True
    return part.parent is not None and (bool(part.filename) or not part.content_type.startswith("text/"))


def _attached_text(raw: bytes, deep: int) -> str:
    if not deep:
        return ""
    mail = read_everything(raw, deep=deep - 1)
    values = [value for _, value in shown_headers(mail.structure.parts[0])]
    return "\n".join([*values, mail.body, *mail.names])
