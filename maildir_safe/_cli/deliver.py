"""`maildir-safe deliver`: the mail delivery agent that Postfix, Exim, qmail and others run.

It starts once a message, so that it reads its own few options: argparse would cost half as much
again as all the rest, and cannot be made to take a sender that begins with ``-``, which strangers choose.
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
                            [--delivery-id ID] [--json] MAILDIR < message

Deliver the message on standard input into MAILDIR, which is made if the directory
above it exists. Silent and exit 0 once the message is as durable as the mount can make it.

  -f SENDER          envelope sender, for Return-Path; '' is the null sender of a bounce
                     (default: $SENDER)
  -d RECIPIENT       envelope recipient, for Delivered-To (default: $RECIPIENT)
  -a ORIGINAL        the recipient before aliases, for X-Original-To
                     (default: $ORIGINAL_RECIPIENT)
  -m FOLDER          deliver into this folder, as in 'Archive.2026'; '' is none
  --delivery-id ID   try the same ID again as often as need be: it is delivered once.
                     An ID must never be used for another message
  --json             print a receipt

Exit codes: 0 delivered; 75 not delivered, try again later (whatever is wrong with the storage,
the configuration or these words); 65 the message itself is refused (it loops, or an address
holds control characters). Why is said on standard error as '4.3.1 write ...: No space left'.
Configurations for mail servers: docs/howto/mail-servers.md
"""

_OPTIONS = {
    "-f": "sender",
    "-d": "recipient",
    "-a": "original_recipient",
    "-m": "folder",
    "--delivery-id": "delivery_id",
}
_ENVIRONMENT = {"sender": "SENDER", "recipient": "RECIPIENT", "original_recipient": "ORIGINAL_RECIPIENT"}


class Misconfigured(TemporaryError):
    """The command was called wrongly: for the administrator to mend, and no reason to bounce mail."""

    status = "4.3.5"


def main(words: list[str]) -> int:
    """Deliver; the exit code, or an error whose `status` tells it."""
    if words in (["--help"], ["-h"]):
        print(HELP, end="")
        return 0
    import _signal  # type: ignore[import-not-found]  # `signal` costs a tenth of the start-up

    options, json, path = parse(words)
    if sys.stdin is None:
        raise Misconfigured("standard input is closed: the message is read from there")
    # a shutdown must end in 75, too: Exim bounces mail when the command dies of a signal
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
    """Options by name, whether a receipt is wanted, and the Maildir. An option takes the next word as it is.

    Raises:
        Misconfigured: an unknown option, a missing value, not exactly one Maildir.
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
            raise Misconfigured(f"{word!r} is no option of deliver; {USAGE} ...")
        else:
            places.append(word)
    if options.get("delivery_id") == "":  # a variable that is not set; all mail would have the same id
        raise Misconfigured("--delivery-id is empty; what should have filled it in?")
    if len(places) != 1 or not places[0]:
        raise Misconfigured(f"one Maildir is needed, not {places}; {USAGE} ... MAILDIR")
    return options, json, places[0].rstrip("/") or "/"


def deliver(path: str, options: dict[str, str], message: Incoming) -> Receipt:
    """Deliver with what the options and, where they are absent, the environment tell of the envelope."""
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
    maildir = _open(path)
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


def _open(path: str) -> Maildir:
    """The Maildir. Root delivers as its owner, whose the mail then is, and not with root's powers."""
    if os.geteuid() != 0:
        return Maildir(path)
    from maildir_safe._fs.owner import as_owner
    from maildir_safe._fs.posix import OsFileSystem

    try:
        fs = as_owner(OsFileSystem(), path)
    except OSError as error:
        raise Misconfigured(f"{path}: {error}") from error
    return Maildir(path, fs=fs)


def _print(receipt: Receipt) -> None:
    import json

    try:
        print(json.dumps(receipt.as_dict()), flush=True)
    except OSError:
        pass  # delivered all the same
