"""Messages in the shapes of Mailpit's API, and as its search sees them.

Where Mailpit keeps a column of its database, we read the message itself, once, and remember.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from maildir_safe._mail.addresses import Mailbox
from maildir_safe._mail.everything import Everything, is_inline, read_everything
from maildir_safe._mail.message import Mail, describe, read_mail
from maildir_safe._mail.structure import Part
from maildir_safe._web.inbox import MOST_READ, UNREADABLE, Inbox
from maildir_safe._web.mailpit_tags import Tags
from maildir_safe._web.ordering import is_unread, printable, received
from maildir_safe._web.placed import Placed
from maildir_safe._web.search import BoundedCache, folded

_REMEMBERED = 100_000
_REMEMBERED_LENGTH = 32 << 20
_MOST_CHECKED = 1000
_RECIPIENTS = ("To", "Cc", "Bcc", "ReplyTo")


@dataclass(slots=True)
class _Read:
    """What is remembered of a message: the fields of its summary, folded fields for a search, and counts."""

    shown: dict[str, Any]
    searched: dict[str, str]
    attachments: int
    inlines: int
    length: int


class Entry:
    """One message. Implements `mailpit_query.Searched`; the message is read when a term asks for it.

    Attributes:
        message: the message as listed.
        unread, created: read status, and the time of arrival in seconds since 1970.
        tags: its tags.
    """

    def __init__(self, entries: Entries, message: Placed) -> None:
        self._entries, self.message = entries, message
        self.id = printable(message.key)
        self.unread = is_unread(message)
        self.created = received(message.key)
        self.tags = entries.tags.of(self.id)

    @property
    def size(self) -> int:
        """Its size in bytes; 0 if it has just gone."""
        return self._entries.inbox.maildir.size_of(self.message)

    @property
    def attachments(self) -> int:
        """The number of its attachments."""
        return self._read.attachments

    @property
    def inlines(self) -> int:
        """The number of its parts that are shown within the text."""
        return self._read.inlines

    @property
    def text(self) -> str:
        """All its text, folded."""
        text = self._entries.inbox.text(self.message)
        if text is None:
            raise KeyError(self.id)
        return text

    def field(self, name: str) -> str:
        """The folded text of a field."""
        if name != "body":
            return self._read.searched[name]
        return self._entries.body(self.message.key)

    @property
    def _read(self) -> _Read:
        return self._entries.read(self.message)

    def summary(self) -> dict[str, Any]:
        """The message as Mailpit's MessageSummary."""
        read = self._read
        return {
            "ID": self.id,
            "Read": not self.unread,
            **read.shown,
            "Created": moment_text(self.created),
            "Username": "",
            "Tags": self.tags,
            "Size": self.size,
            "Attachments": read.attachments,
        }


class Entries:
    """The messages of an inbox as `Entry`. Thread-safe.

    Args:
        inbox: the inbox.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.tags = Tags(inbox.maildir.files, inbox.has)
        self._known: BoundedCache[_Read] = BoundedCache(
            _REMEMBERED, _REMEMBERED_LENGTH, lambda read: read.length
        )
        inbox.when_gone.append(self._known.forget)
        self._last_body = ("", "")

    def of(self, messages: Iterable[Placed]) -> Iterator[Entry]:
        """Messages as entries."""
        return (Entry(self, message) for message in messages)

    def summaries(self, messages: Iterable[Placed]) -> list[dict[str, Any]]:
        """Messages as Mailpit's summaries. Those that are gone or cannot be read are left out."""
        found = []
        for entry in self.of(messages):
            try:
                found.append(entry.summary())
            except UNREADABLE:
                continue
        return found

    def body(self, key: str) -> str:
        """The folded body of a message. The last one is remembered: a query may ask for it many times."""
        last, body = self._last_body
        if last != key:
            body = folded(read_everything(self.inbox.read(key, MOST_READ)).body)
            self._last_body = key, body
        return body

    def read(self, message: Placed) -> _Read:
        """Read a message, or remember it. Raises KeyError, TemporaryError, OSError."""
        known = self._known.get(message.key)
        if known is None:
            known = read_entry(read_everything(self.inbox.read(message.key, MOST_READ)))
            self._known.put(message.key, known)
        return known


def read_entry(mail: Everything) -> _Read:
    """What is remembered of a message."""
    shown = {**_head(mail), "Snippet": mail.snippet}
    searched = {
        name: folded(" ".join(f"{one['Name']} {one['Address']}" for one in shown[field]))
        for name, field in (("to", "To"), ("cc", "Cc"), ("bcc", "Bcc"), ("reply-to", "ReplyTo"))
    }
    searched["from"] = folded(" ".join(f"{one.name} {one.address}" for one in mail.mailboxes("from")))
    searched["subject"], searched["message-id"] = folded(shown["Subject"]), folded(shown["MessageID"])
    length = 1000 + 2 * sum(map(len, searched.values())) + len(mail.snippet)
    return _Read(shown, searched, len(mail.attached), len(mail.inline), length)


def _head(mail: Everything) -> dict[str, Any]:
    """The fields that a summary and a message have in common."""
    senders = mail.mailboxes("from")
    fields: dict[str, Any] = {
        "MessageID": mail.text("message-id").strip("<> "),
        "From": _address(senders[0] if senders else Mailbox(mail.text("from"), "")),
        "To": [*map(_address, mail.mailboxes("to"))],
        "Cc": [*map(_address, mail.mailboxes("cc"))],
        "Bcc": [*map(_address, mail.mailboxes("bcc"))],
        "ReplyTo": [*map(_address, mail.mailboxes("reply-to"))],
        "Subject": mail.text("subject"),
    }
    named = {one["Address"].lower() for name in ("To", "Cc", "Bcc") for one in fields[name]}
    hidden = [address for address in mail.summary.envelope if address.lower() not in named]
    fields["Bcc"] += [{"Name": "", "Address": address} for address in hidden]
    return fields


def _address(mailbox: Mailbox) -> dict[str, str]:
    return {"Name": mailbox.name, "Address": mailbox.address}


def moment_text(seconds: float) -> str:
    """A time as Mailpit writes it: RFC 3339 with milliseconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def whole(entry: Entry, raw: bytes) -> dict[str, Any]:
    """A message as Mailpit's Message.

    Args:
        entry: the message.
        raw: its bytes.
    """
    mail, everything = read_mail(raw, images=False), read_everything(raw)
    head = _head(everything)
    returns = everything.text("return-path").strip("<> ")
    return {
        "ID": entry.id,
        "Read": True,
        **head,
        "ReturnPath": returns or head["From"]["Address"],
        "Date": _date(everything.text("date")) or moment_text(entry.created),
        "ListUnsubscribe": _unsubscribe(everything),
        "Tags": entry.tags,
        "Username": "",
        "Text": mail.text or "",
        "HTML": mail.html or "",
        "Size": len(raw),
        "Inline": [_file(raw, part) for part in everything.inline[:_MOST_CHECKED]],
        "Attachments": [_file(raw, part) for part in _others(mail, everything)[:_MOST_CHECKED]],
    }


def _others(mail: Mail, everything: Everything) -> list[Part]:
    """The attached parts. Text beside the message's own text is among them only if it has a name."""
    numbers = {part.number for part in mail.attachments}
    return [part for part in everything.attached if part.number in numbers and not is_inline(part)]


def _file(raw: bytes, part: Part) -> dict[str, Any]:
    about = describe(raw, part)
    sums = {name: hashlib.new(name.lower(), usedforsecurity=False) for name in ("MD5", "SHA1", "SHA256")}
    for piece in part.content(raw):
        for one in sums.values():
            one.update(piece)
    return {
        "PartID": str(part.number),
        "FileName": about.name,
        "ContentType": about.content_type,
        "ContentID": part.fields.text("content-id").strip("<> "),
        "Size": about.size,
        "Checksums": {name: one.hexdigest() for name, one in sums.items()},
    }


def _date(text: str) -> str:
    try:
        found = parsedate_to_datetime(text[:200])
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return ""
    return found.isoformat().replace("+00:00", "Z")


def _unsubscribe(mail: Everything) -> dict[str, Any]:
    header = mail.text("list-unsubscribe")
    links = [link for piece in header.split(",")[:20] if (link := piece.strip().strip("<> "))]
    wrong = [link for link in links if not link.lower().startswith(("mailto:", "http://", "https://"))]
    return {
        "Header": header,
        "Links": [link for link in links if link not in wrong],
        "Errors": f"not a link: {wrong[0][:200]}" if wrong else "",
        "HeaderPost": mail.text("list-unsubscribe-post") if header else "",
    }
