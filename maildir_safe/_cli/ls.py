"""`maildir-safe ls`: lists the messages of a Maildir, in new/ and cur/ together, oldest first."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from maildir_safe._cli.maildir_argument import add_place, open_maildir
from maildir_safe._cli.output import print_json, visible
from maildir_safe._mail.summary import read_head, summarize
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._maildir.message_store import Message
from maildir_safe._names import arrival_time
from maildir_safe.errors import MaildirSafeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "List the messages of a Maildir, oldest first: key, flags ('new' for a message in new/), bytes, "
        "sender, subject. 'maildir-safe show' takes the key."
    )
    add_place(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per message. Returns 0, or 1 if a message could not be read."""
    maildir = open_maildir(args.maildir, args.folder)
    code = 0
    for message in sorted(maildir.messages(), key=_age):
        try:
            facts = _facts(maildir, message)
        except KeyError:
            continue  # removed since it was listed
        except (MaildirSafeError, OSError) as error:
            print(f"maildir-safe ls: {visible(str(error))}", file=sys.stderr)
            code = 1
            continue
        if args.json:
            print_json(facts)
        else:
            flags = "new" if message.subdir == "new" else message.flags or "-"
            words = (visible(str(facts[name])) for name in ("from", "subject"))
            print(f"{visible(message.key)}  {flags:<4} {facts['size']:>8}  {'  '.join(words)}")
    return code


def _age(message: Message) -> tuple[int, str]:
    seconds, _ = arrival_time(message.key) or (0, 0)
    return (seconds, message.key)


def _facts(maildir: Maildir, message: Message) -> dict[str, Any]:
    with maildir.open(message.key) as file:
        summary = summarize(read_head(file))
        size = file.seek(0, 2)
    return {
        "key": message.key,
        "subdir": message.subdir,
        "flags": message.flags,
        "size": size,
        "date": summary.date,
        "from": summary.sender,
        "to": summary.to,
        "subject": summary.subject,
    }
