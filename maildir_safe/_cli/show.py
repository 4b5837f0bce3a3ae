"""`maildir-safe show`: prints one message as text."""

from __future__ import annotations

import argparse

from maildir_safe._cli.maildir_argument import add_place, open_maildir
from maildir_safe._cli.output import bytes_text, print_json, visible
from maildir_safe._mail.message import read_mail
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._maildir.message_store import Message
from maildir_safe.errors import MaildirSafeError, TemporaryError

_SHOWN = ("return-path", "delivered-to", "date", "from", "to", "cc", "subject")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Print a message: its main headers, its text, and the names of its attachments. Nothing in it can "
        "control the terminal. Its flags are not changed."
    )
    add_place(parser)
    parser.add_argument(
        "key", metavar="KEY", help="its key, as 'ls' prints it, or any part that no other key contains"
    )


def run(args: argparse.Namespace) -> int:
    """Print the message."""
    maildir = open_maildir(args.maildir, args.folder)
    found = _find(maildir, args.key)
    try:
        with maildir.open(found.key) as file:
            mail = read_mail(file.read(), images=False)
    except KeyError:
        raise TemporaryError(f"{found.key} was removed just now") from None
    if args.json:
        print_json(
            {
                "key": found.key,
                "path": f"{maildir.path}/{found.subdir}/{found.name}",
                "flags": found.flags,
                "headers": mail.headers,
                "text": mail.readable,
                "attachments": [
                    {"name": each.name, "type": each.content_type, "size": each.size}
                    for each in mail.attachments
                ],
                "problem": mail.problem,
            }
        )
        return 0
    headers = {name.lower(): (name, value) for name, value in reversed(mail.headers)}
    for name, value in (headers[name] for name in _SHOWN if name in headers):
        print(f"{visible(name)}: {visible(value)}")
    print()
    print(visible(mail.readable, keep="\n\t").rstrip("\n"))
    for each in mail.attachments:
        print(f"\n[attached: {visible(each.name)}, {visible(each.content_type)}, {bytes_text(each.size)}]")
    if mail.problem:
        print(f"\n[not all of it is shown: {mail.problem}]")
    return 0


def _find(maildir: Maildir, part: str) -> Message:
    """The one message whose key is or contains `part`."""
    messages = list(maildir.messages())
    found = [m for m in messages if m.key == part] or [m for m in messages if part and part in m.key]
    if len(found) != 1:
        which = f"{len(found)} messages have" if found else "no message has"
        raise MaildirSafeError(
            f"{maildir.path}: {which} {part!r} in the key; 'maildir-safe ls' prints the keys"
        )
    return found[0]
