"""`maildir-safe ls`: the messages of a Maildir, oldest first, those in new/ and cur/ together."""

from __future__ import annotations

import argparse
from typing import Any

from maildir_safe.cli.output import print_json, visible
from maildir_safe.cli.reader import add_place, header, open_maildir, read_header
from maildir_safe.maildir import Maildir
from maildir_safe.maildir.reading import Message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "List the messages of a Maildir, oldest first: key, flags ('new' if nobody has seen it), bytes, "
        "sender, subject. The key is what 'maildir-safe show' takes."
    )
    add_place(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line a message."""
    maildir = open_maildir(args.maildir, args.folder)
    for message in sorted(maildir.messages(), key=_age):
        facts = _facts(maildir, message)
        if facts is None:
            continue  # removed since it was listed
        if args.json:
            print_json(facts)
        else:
            flags = "new" if message.subdir == "new" else message.flags or "-"
            words = (visible(str(facts[name])) for name in ("from", "subject"))
            print(f"{visible(message.key)}  {flags:<4} {facts['size']:>8}  {'  '.join(words)}")
    return 0


def _age(message: Message) -> tuple[int, str]:
    seconds = message.key.partition(".")[0]
    return (int(seconds) if seconds.isdecimal() and seconds.isascii() else 0, message.key)


def _facts(maildir: Maildir, message: Message) -> dict[str, Any] | None:
    try:
        with maildir.open(message.key) as file:
            head = read_header(file)
            size = file.seek(0, 2)
    except KeyError:
        return None
    return {
        "key": message.key,
        "subdir": message.subdir,
        "flags": message.flags,
        "size": size,
        "date": header(head, "Date"),
        "from": header(head, "From"),
        "to": header(head, "To"),
        "subject": header(head, "Subject"),
    }
