"""`maildir-safe deliver`: the mail delivery agent that Postfix, Exim, qmail and others run.

It starts once per message, and therefore parses its few options itself: argparse would add half of
the run time, and cannot take a sender that begins with ``-``, which strangers choose.
"""

from __future__ import annotations

import os
import sys

from maildir_safe._cli import hold_signals
from maildir_safe._delivery.incoming import Incoming
from maildir_safe._delivery.trace_headers import TraceHeader
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import PermanentError, TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._delivery.receipt import Receipt

USAGE = "usage: maildir-safe deliver [-f SENDER] [-d RECIPIENT] [-a ORIGINAL] [-m FOLDER]"
HELP = f"""\
{USAGE}
                            [--delivery-id ID] [--staging {{tmp,new}}] [--json] MAILDIR < message

Deliver the message on standard input into MAILDIR, which is created if its parent
directory exists. Prints nothing and exits with 0 once the message is as durable as
the mount can make it.

  -f SENDER          envelope sender, for Return-Path; '' is the null sender of a bounce
                     (default: $SENDER)
  -d RECIPIENT       envelope recipient, for Delivered-To (default: $RECIPIENT)
  -a ORIGINAL        the recipient before aliases, for X-Original-To
                     (default: $ORIGINAL_RECIPIENT)
  -m FOLDER          deliver into this folder, such as 'Archive.2026'; '' is no folder
  --delivery-id ID   deliver once, even if called again with the same ID. Never use an ID
                     for another message
  --staging WHERE    where the message is written first: tmp, or new for its target directory,
                     under a dot name (default: as the mount needs)
  --json             print a receipt

Exit codes: 0 delivered; 75 not delivered, try again later (any error of the storage, the
configuration or the arguments); 65 the message itself is refused (it loops, or an address
contains control characters). The reason is printed on standard error, such as
'4.3.1 write ...: No space left'. Configurations for mail servers: docs/howto/mail-servers.md
"""

_OPTIONS = {
    "-f": "sender",
    "-d": "recipient",
    "-a": "original_recipient",
    "-m": "folder",
    "--delivery-id": "delivery_id",
    "--staging": "staging",
}
_ENVIRONMENT = {"sender": "SENDER", "recipient": "RECIPIENT", "original_recipient": "ORIGINAL_RECIPIENT"}


class Misconfigured(TemporaryError):
    """The command was called wrongly. The administrator must correct that; mail must not bounce for it."""

    status = "4.3.5"


def main(words: list[str]) -> int:
    """Deliver. Returns the exit code, or raises an error whose `status` determines it."""
    if words in (["--help"], ["-h"]):
        print(HELP, end="")
        return 0
    import _signal  # type: ignore[import-not-found]  # `signal` costs a tenth of the start-up

    options, json, path = parse(words)
    if sys.stdin is None:
        raise Misconfigured("standard input is closed, but the message is read from it")
    # a shutdown must also end in 75: Exim bounces mail when the command dies of a signal
    signals = _signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT
    try:
        for number in signals:
            _signal.signal(number, _signal.default_int_handler)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, signals)
        receipt = deliver(path, options, Incoming(sys.stdin.buffer.raw))  # type: ignore[union-attr]
    finally:
        hold_signals()
    if json:
        _print(receipt)
    return 0


def parse(words: list[str]) -> tuple[dict[str, str], bool, str]:
    """Parse the arguments. The word after an option is its value, whatever it begins with.

    Returns:
        The options by name, whether a receipt is wanted, and the Maildir.

    Raises:
        Misconfigured: an unknown option, a missing value, or not exactly one Maildir.
    """
    options: dict[str, str] = {}
    places: list[str] = []
    json = False
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        if word == "--":
            places += rest
        elif word == "--json":
            json = True
        elif flag in _OPTIONS:
            if not equals:
                value = next(rest, None)  # type: ignore[assignment]
                if value is None:
                    raise Misconfigured(f"{flag} needs a value; {USAGE} ...")
            options[_OPTIONS[flag]] = value
        elif word.startswith("-"):
            raise Misconfigured(f"{word!r} is not an option of deliver; {USAGE} ...")
        else:
            places.append(word)
    if options.get("delivery_id") == "":  # from a variable that is not set: all mail would have the same id
        raise Misconfigured("--delivery-id is empty; is the variable for it set?")
    if options.get("staging", "tmp") not in ("tmp", "new"):
        raise Misconfigured(f"--staging is {options['staging']!r}, but must be tmp or new")
    if len(places) != 1 or not places[0]:
        raise Misconfigured(f"exactly one Maildir is needed, not {places}; {USAGE} ... MAILDIR")
    return options, json, places[0].rstrip("/") or "/"


def deliver(path: str, options: dict[str, str], message: Incoming) -> Receipt:
    """Deliver. The envelope is taken from the options, and where these are absent from the environment."""
    for name, variable in _ENVIRONMENT.items():
        if name not in options and variable in os.environ:
            options[name] = os.environ[variable]
    sender, recipient = options.get("sender"), options.get("recipient") or None
    original = options.get("original_recipient")
    trace = TraceHeader(message.start)
    if recipient is not None and trace.loops(recipient):
        loop = PermanentError(f"mail loop: the message was delivered to {recipient} before (Delivered-To)")
        loop.status = "5.4.6"
        raise loop
    maildir = _open(path, options.get("staging"))
    size = len(message.start)
    if message.whole:
        maildir.check_quota(size)
        content = message.content()
    else:
        content = maildir.within_quota(message.content(), size)
    try:
        return maildir.deliver(
            content,
            sender=None if trace.has(b"return-path") else sender,
            recipient=None if trace.has(b"delivered-to") else recipient,
            original_recipient=None if trace.has(b"x-original-to") else original,
            delivery_id=options.get("delivery_id"),
            folder=options.get("folder") or None,
        )
    except ValueError as error:  # the folder's name
        raise Misconfigured(str(error)) from error


def _open(path: str, staging: str | None) -> Maildir:
    """Open the Maildir. Root acts as its owner: with the owner's rights, and the owner gets the mail."""
    if os.geteuid() != 0:
        return Maildir(path, staging=staging)
    from maildir_safe._fs.owner import as_owner
    from maildir_safe._fs.posix import OsFileSystem

    try:
        fs = as_owner(OsFileSystem(), path)
    except OSError as error:
        raise Misconfigured(f"{path}: {error}") from error
    return Maildir(path, staging=staging, fs=fs)


def _print(receipt: Receipt) -> None:
    import json

    try:
        print(json.dumps(receipt.as_dict()), flush=True)
    except OSError:
        pass  # the message is delivered anyway
