"""What `ls` and `show` have in common: find messages, and read their headers as people read them."""

from __future__ import annotations

import argparse
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from typing import BinaryIO

from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import TemporaryError

_HEADER_LIMIT = 256 << 10  # bytes; what comes after them is not shown


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which Maildir, and how to print."""
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("-m", dest="folder", metavar="FOLDER", help="a folder of it, as in 'Archive.2026'")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def open_maildir(path: str, folder: str | None) -> Maildir:
    """The Maildir, or a folder of it; nothing is made.

    Raises:
        TemporaryError: there is none.
    """
    maildir = Maildir(path.rstrip("/") or "/", create=False)
    if folder is None:
        return maildir
    try:
        return maildir.folder(folder, create=False)
    except ValueError as error:
        raise TemporaryError(str(error)) from error


def read_header(file: BinaryIO) -> EmailMessage:
    """The header of a message, without its body."""
    lines, left = [], _HEADER_LIMIT
    while left > 0 and (line := file.readline(left)) not in (b"", b"\n", b"\r\n"):
        lines.append(line)
        left -= len(line)
    return BytesHeaderParser(policy=policy.default).parsebytes(b"".join(lines))


def read_message(file: BinaryIO) -> EmailMessage:
    """A whole message."""
    return message_from_bytes(file.read(), policy=policy.default)


def header(message: EmailMessage, name: str) -> str:
    """A header as text, its encoded words decoded; as it stands where it is malformed; ``""`` if absent."""
    try:
        return str(message[name] or "")
    except Exception:  # noqa: BLE001 - the parser of `email` fails in many ways on what spammers send
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return str(raw)
