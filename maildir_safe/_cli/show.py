"""`maildir-safe show`: one message, as text."""

from __future__ import annotations

import argparse
from email.message import EmailMessage, MIMEPart

from maildir_safe._cli.maildir_argument import add_place, header, open_maildir, read_message
from maildir_safe._cli.output import bytes_text, print_json, visible
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._maildir.message_store import Message
from maildir_safe.errors import MaildirSafeError, TemporaryError

_SHOWN = ("Return-Path", "Delivered-To", "Date", "From", "To", "Cc", "Subject")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Print a message: its main headers, its text, and what is attached. Nothing in it can steer the "
        "terminal. Flags are left as they are."
    )
    add_place(parser)
    parser.add_argument(
        "key", metavar="KEY", help="its key, as 'ls' prints it, or any part that no other has"
    )


def run(args: argparse.Namespace) -> int:
    """Print the message."""
    maildir = open_maildir(args.maildir, args.folder)
    found = _find(maildir, args.key)
    try:
        with maildir.open(found.key) as file:
            message = read_message(file)
    except KeyError:
        raise TemporaryError(f"{found.key} was removed just now") from None
    text, attached = _text(message), _attachments(message)
    if args.json:
        print_json(
            {
                "key": found.key,
                "path": f"{maildir.path}/{found.subdir}/{found.name}",
                "flags": found.flags,
                "headers": [[name, header(message, name)] for name in dict.fromkeys(message.keys())],
                "text": text,
                "attachments": [{"name": name, "type": kind, "size": size} for name, kind, size in attached],
            }
        )
        return 0
    for name in _SHOWN:
        if name in message:
            print(f"{name}: {visible(header(message, name))}")
    print()
    print(visible(text, keep="\n\t").rstrip("\n"))
    for name, kind, size in attached:
        print(f"\n[attached: {visible(name)}, {visible(kind)}, {bytes_text(size)}]")
    return 0


def _find(maildir: Maildir, part: str) -> Message:
    """The one message whose key is, or has in it, `part`."""
    messages = list(maildir.messages())
    found = [m for m in messages if m.key == part] or [m for m in messages if part and part in m.key]
    if len(found) != 1:
        which = f"{len(found)} messages have" if found else "no message has"
        raise MaildirSafeError(
            f"{maildir.path}: {which} {part!r} in the key; 'maildir-safe ls' prints the keys"
        )
    return found[0]


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain", "html"))
    return "" if body is None else _content(body)


def _content(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except Exception:  # noqa: BLE001 - unknown charsets and broken encodings: show the bytes as they are
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(part.get_payload())


def _attachments(message: EmailMessage) -> list[tuple[str, str, int]]:
    if not message.is_multipart():
        return []
    found = []
    for part in message.iter_attachments():
        payload = part.get_payload(decode=True)
        size = len(payload) if isinstance(payload, bytes) else len(bytes(part))
        found.append((part.get_filename("without a name"), part.get_content_type(), size))
    return found
