"""A process that delivers until it is killed; see `torture`. Standard output is the pipe to the ledger."""

from __future__ import annotations

import random
import sys

from maildir_safe._check.torture_ledger import message
from maildir_safe._check.torture_process import say, say_error
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import MaildirSafeError, UnknownOutcome


def deliver(maildir: Maildir, key: str) -> None:
    """Deliver a message, with retries after errors, as an MTA would."""
    say(f"begin {key}")
    for _ in range(5):
        try:
            receipt = maildir.deliver(message(key), delivery_id=key)
        except UnknownOutcome as error:
            say_error(f"unknown outcome: {error}")
        except MaildirSafeError as error:
            say_error(error)
        else:
            say(f"ack {key} {receipt.durability}")
            return


def main(path: str, number: str, staging: str = "") -> None:
    """Retry the messages that a predecessor had begun, then deliver, read and flag until killed."""
    maildir = Maildir(path, staging=staging or None)
    for line in iter(sys.stdin.readline, "\n"):
        deliver(maildir, line.strip())
    chance = random.Random(number)
    count = 0
    while True:
        count += 1
        key = f"w{number}-{count}"
        deliver(maildir, key)
        if chance.random() < 0.1:
            for entry in list(maildir.messages())[:3]:
                maildir.set_flags(entry.key, chance.choice(["S", "RS", "F", ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
