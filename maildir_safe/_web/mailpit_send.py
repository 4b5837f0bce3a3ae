"""The message that a request to Mailpit's ``/api/v1/send`` describes, checked and built."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid
from typing import IO, Any

from maildir_safe._web.mailpit_body import checked, json_object
from maildir_safe._web.mailpit_tags import valid
from maildir_safe._web.parameters import bad

MOST_SENT = 36 << 20
"""Most bytes of a request: attachments of 25 MiB in base64."""
_MOST_RECIPIENTS = 100
_MOST_ATTACHMENTS = 100
_MOST_HEADERS = 100
_LONGEST_HEADERS = 65536  # characters of all their values
_LONGEST_VALUE = 8192  # characters of one: the package `email` takes quadratic time to fold it
_LONGEST_NAME = 320  # characters of a person's name, a file name, a Content-ID
_LONGEST_TEXT = 2 << 20  # characters, of which the package makes several copies
_FIELDS: dict[str, type] = {
    "From": object, "To": object, "Cc": object, "Bcc": list, "ReplyTo": object, "Subject": str, "Text": str,
    "HTML": str, "Attachments": object, "Tags": list, "Headers": dict,
}  # fmt: skip
_TAKEN = (
    "to", "from", "cc", "bcc", "reply-to", "date", "subject", "content-type", "mime-version",
    "content-transfer-encoding", "content-disposition", "return-path", "delivered-to", "x-original-to",
)  # fmt: skip
_NAME = re.compile(r"[!-9;-~]{1,76}")
_TYPE = re.compile(r"([a-z]+)/([a-z0-9][a-z0-9.+-]*)", re.IGNORECASE)
_ADDRESS = re.compile(r"[!-~\x80-\U0010ffff]{1,64}@[!-~\x80-\U0010ffff]{1,255}")


@dataclass
class SendRequest:
    """A message to store.

    Attributes:
        message: the message, complete.
        sender: the envelope's sender.
        recipients: all recipients.
        tags: its tags.
    """

    message: bytes
    sender: str
    recipients: list[str]
    tags: list[str]


async def build(body: IO[bytes]) -> SendRequest:
    """Build the message that a request's body describes.

    Raises:
        HTTPException: 400, a field is unknown or malformed.
    """
    body.seek(0)
    fields = checked(json_object(body.read()), _FIELDS)
    if "From" not in fields:
        raise bad("From: missing")
    try:
        return await asyncio.to_thread(_built, fields)
    except (HeaderParseError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise bad(f"the message cannot be built: {str(error)[:200]}") from None


def _built(fields: dict[str, Any]) -> SendRequest:
    for name in ("Subject", "Text", "HTML"):
        _check_length(name, fields.get(name, ""), _LONGEST_VALUE if name == "Subject" else _LONGEST_TEXT)
    sender = _person("From", fields["From"])
    people = {name: [_person(name, one) for one in _list(name, fields)] for name in ("To", "Cc", "ReplyTo")}
    hidden = [_address("Bcc", one) for one in fields.get("Bcc", [])]
    recipients = [*people["To"], *people["Cc"], *hidden]
    if len(recipients) > _MOST_RECIPIENTS:
        raise bad(f"To, Cc, Bcc: more than {_MOST_RECIPIENTS} recipients")
    message = EmailMessage(policy=SMTP.clone(linesep="\n"))
    message["From"] = sender
    for header, value in (
        ("To", people["To"]),
        ("Cc", people["Cc"]),
        ("Bcc", hidden),
        ("Reply-To", people["ReplyTo"]),
    ):
        if value:
            message[header] = value
    message["Subject"] = " ".join(fields.get("Subject", "").split())
    message["Date"] = localtime()
    _add_headers(message, fields.get("Headers", {}))
    if "Message-ID" not in message:
        message["Message-ID"] = make_msgid(domain="maildir-safe.invalid")
    message.set_content(fields.get("Text", ""))
    if fields.get("HTML"):
        message.add_alternative(fields["HTML"], subtype="html")
    _attach(message, _list("Attachments", fields))
    tags = [valid(tag) for tag in fields.get("Tags", [])]
    return SendRequest(message.as_bytes(), sender.addr_spec, [one.addr_spec for one in recipients], tags)


def _check_length(name: str, value: str, longest: int = _LONGEST_VALUE) -> None:
    if len(value) > longest:
        raise bad(f"{name}: longer than {longest} characters")


def _list(name: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
    found = fields.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise bad(f"{name}: must be a list of objects")
    return found


def _person(where: str, found: object) -> Address:
    if not isinstance(found, dict):
        raise bad(f"{where}: must be an object")
    fields = checked(found, {"Name": str, "Email": str}, f"{where}.")
    return _address(where, fields.get("Email", ""), fields.get("Name", ""))


def _address(where: str, address: str, name: str = "") -> Address:
    _check_length(f"{where}.Name", name, _LONGEST_NAME)
    if not _ADDRESS.fullmatch(address) or not name.isprintable():
        raise bad(f"invalid {where} address: {address[:200]!r}")
    try:
        return Address(display_name=name, addr_spec=address)
    except (HeaderParseError, ValueError, IndexError):
        raise bad(f"invalid {where} address: {address[:200]!r}") from None


def _add_headers(message: EmailMessage, headers: dict[str, Any]) -> None:
    if len(headers) > _MOST_HEADERS:
        raise bad(f"Headers: more than {_MOST_HEADERS}")
    if sum(len(value) for value in headers.values() if isinstance(value, str)) > _LONGEST_HEADERS:
        raise bad(f"Headers: longer than {_LONGEST_HEADERS} characters in all")
    for name, value in headers.items():
        if name.lower() in _TAKEN:
            raise bad(f"Headers: cannot overwrite header: {name[:100]!r}")
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not value.isprintable():
            raise bad(f"Headers: {name[:100]!r} is no header, or its value is not one line")
        _check_length(f"Headers: {name}", value)
        message[name] = value


def _attach(message: EmailMessage, attachments: list[dict[str, Any]]) -> None:
    if len(attachments) > _MOST_ATTACHMENTS:
        raise bad(f"Attachments: more than {_MOST_ATTACHMENTS}")
    kinds: dict[str, type] = {"Content": str, "Filename": str, "ContentType": str, "ContentID": str}
    for found in attachments:
        fields = checked(found, kinds, "Attachments.")
        name = fields.get("Filename", "")
        try:
            data = base64.b64decode(fields.get("Content", "").rpartition(",")[2], validate=True)
        except binascii.Error:
            raise bad(f"Attachments.Content: {name[:100]!r} is not base64") from None
        kind = _TYPE.fullmatch(fields.get("ContentType") or "application/octet-stream")
        cid = fields.get("ContentID", "")
        _check_length("Attachments: Filename or ContentID", max(name, cid, key=len), _LONGEST_NAME)
        if kind is None or kind[1].lower() in ("multipart", "message") or not (name + cid).isprintable():
            raise bad(f"Attachments: {name[:100]!r}: its type, name or ContentID is malformed")
        extra: dict[str, Any] = {"cid": f"<{cid}>", "disposition": "inline"} if cid else {}
        message.add_attachment(data, maintype=kind[1], subtype=kind[2], filename=name or None, **extra)
