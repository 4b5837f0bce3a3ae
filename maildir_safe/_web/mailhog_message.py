"""A message in the shape of MailHog's API: undecoded, with CRLF at the ends of lines as SMTP sent it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from maildir_safe._mail.addresses import mailboxes
from maildir_safe._mail.structure import Part, Structure
from maildir_safe._mail.summary import Summary, summary_of
from maildir_safe._mail.words import raw_text
from maildir_safe._web.ordering import printable, received

_MOST = 16 << 20
_HELO = re.compile(r"from (\S{1,255})")
_MOST_RECIPIENTS = 1000


class Room:
    """What is left of the room of a response. MailHog's shape has each byte of a message three times.

    Args:
        most: most bytes of headers and bodies, all together.

    Attributes:
        is_used_up: whether something was cut.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._left = most
        self.is_used_up = False

    def take(self, raw: bytes, start: int = 0, end: int | None = None) -> str:
        """The bytes from `start` to `end` as text with CRLF, cut to the room that is left."""
        end = len(raw) if end is None else end
        fits = min(end, start + self._left)
        self.is_used_up = self.is_used_up or fits < end
        self._left -= max(0, fits - start)
        text = raw[start:fits].decode("utf-8", "replace")
        return text.replace("\r\n", "\n").replace("\n", "\r\n")


def whole(key: str, raw: bytes, room: Room) -> dict[str, Any]:
    """A message as MailHog's Message.

    Args:
        key: its key.
        raw: its bytes.
        room: what of the response is left for it.
    """
    structure = Structure(raw)
    message = structure.parts[0]
    summary = summary_of(message.fields)
    sender = summary.returns if summary.returns is not None else summary.address
    recipients = _recipients(message, summary)
    content = _contents(structure, raw, room)
    helo = _HELO.match(message.fields.text("received"))
    return {
        "ID": printable(key),
        "From": _path(sender),
        "To": [_path(one) for one in recipients],
        "Content": {**content, "Size": len(raw), "MIME": None},
        "Created": datetime.fromtimestamp(received(key), UTC).isoformat().replace("+00:00", "Z"),
        "MIME": content["MIME"],
        "Raw": {
            "From": sender,
            "To": recipients,
            "Data": room.take(raw),
            "Helo": helo[1] if helo else "",
        },
    }


def _recipients(message: Part, summary: Summary) -> list[str]:
    """The envelope's recipients; of a message that came without an envelope, those of its header."""
    if summary.envelope:
        return summary.envelope[:_MOST_RECIPIENTS]
    names = ("to", "cc", "bcc")
    values = [mailboxes(message.fields.bytes_of(name), message.fields.charset) for name in names]
    return [one.address for found in values for one in found if one.address][:_MOST_RECIPIENTS]


def _path(address: str) -> dict[str, Any]:
    mailbox, at, domain = address.rpartition("@")
    return {
        "Relays": None,
        "Mailbox": mailbox if at else domain,
        "Domain": domain if at else "",
        "Params": "",
    }


def _contents(structure: Structure, raw: bytes, room: Room) -> dict[str, Any]:
    """The message itself as MailHog's Content; `MIME` has the parts in it, which may have parts too."""
    made: dict[int, dict[str, Any]] = {}
    for part in structure.parts:
        made[part.number] = _content(part, raw, room)
        if part.parent is not None:
            made[part.parent.number]["MIME"]["Parts"].append(made[part.number])
    return made[0]


def _content(part: Part, raw: bytes, room: Room) -> dict[str, Any]:
    headers: dict[str, list[str]] = {}
    for name, value in part.fields.raw:
        headers.setdefault(name, []).append(raw_text(room.take(value).encode()).strip())
    return {
        "Headers": headers,
        "Body": room.take(raw, part.body, part.end),
        "Size": part.end - part.body,
        "MIME": {"Parts": []} if part.is_multipart else None,
    }
