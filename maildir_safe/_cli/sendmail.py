"""`maildir-safe sendmail`: the interface of sendmail(8), through which cron, PHP, git and mutt send.

The words are parsed as getopt(3) does, since programs bundle options (``-ti``) and attach values.
"""

from __future__ import annotations

import os
import sys
import time

from maildir_safe._cli import TEMPORARY, USAGE, hold_signals, print_reason
from maildir_safe.errors import MaildirSafeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._submission.settings import Settings

HELP = """\
usage: maildir-safe sendmail [OPTION ...] [--] [RECIPIENT ...] < message
       maildir-safe sendmail -bp

Put the message on standard input into the queue, as the programs that call sendmail expect it.
Exits with 0 only after the message is durable in the spool; a worker ('maildir-safe work')
sends it. Adds From, Date and Message-ID where they are missing, completes addresses that
have no domain, and removes Bcc and Return-Path.

  -t             take the recipients from To, Cc and Bcc; if the message has Resent-To,
                 Resent-Cc or Resent-Bcc, from these alone
  -f, -r SENDER  envelope sender; '' is the null sender (default: the calling user)
  -F NAME        full name for a From that is added (default: none)
  -i, -oi        do not end the message at a line that is a lone dot
  -bp            list the queue, as 'maildir-safe queue ls' does
  -bm            send a message (the default)
  -bi, -q        nothing to do: there is no alias database, and workers run the queue

Reports of delivery (RFC 3461), which the worker sends, or the next server if it offers DSN:

  -N WHEN        'never', or some of 'success,failure,delay' (default: failure)
  -R HOW         'full' or 'hdrs': how much of the message a report of failure contains
  -V ID          an id that reports repeat

Without effect, for compatibility: -A -B -e -G -h -L -m -n -o -O -U -v -X.

The program also does this under the names sendmail, mailq (-bp) and newaliases (-bi).

Configuration: /etc/maildir-safe/sendmail.toml, or the file that the environment variable
MAILDIR_SAFE_SENDMAIL_CONFIG names. Keys:
  spool          the spool, as an absolute path. It must exist
  domain         completes addresses without a domain (default: the name of this host)
  size_limit     most bytes of a message (default: 50000000)

Exit codes: 0 queued; 75 not queued, try again later; 64 wrong usage; 65 the message or an
address is refused; 77 this user may not write into the spool; 78 wrong configuration;
130 interrupted by Ctrl-C, nothing is queued. The reason is one line on standard error.
How to install it: docs/howto/sendmail.md
"""

_VALUE = "BCFLNORVXbfhopr"  # options whose value is attached or the next word
_ATTACHED = "Aeq"  # options whose value, if any, is attached
_PLAIN = "GUimntv"


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end before the message was put into the queue."""


class WrongUsage(ValueError):
    """The command was called wrongly."""


def main(words: list[str]) -> int:
    """Send, list the queue, or do nothing. Returns the exit code; prints the reason if it is not 0."""
    if words == ["--help"]:
        print(HELP, end="")
        return 0
    try:
        return _run(words)
    except WrongUsage as error:
        return _failed(str(error), USAGE)
    except Stopped as stop:
        code = 130 if stop.args[0] == "SIGINT" else TEMPORARY
        return _failed(f"stopped by {stop.args[0]}; nothing is queued", code)
    except KeyboardInterrupt:
        return _failed("stopped by SIGINT; nothing is queued", 130)
    except MaildirSafeError as error:
        return _failed(str(error), getattr(error, "exit_code", TEMPORARY if error.status[0] == "4" else 65))


def parse(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Parse the arguments.

    Returns:
        The options by letter, and the recipients. The last of two equal options counts; ``b`` and ``o``
        hold all their values, separated by blanks.

    Raises:
        WrongUsage: an unknown option, a missing value, or an option after a recipient.
    """
    options: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        _take(rest, options)
    if rest[:1] == ["--"]:
        return options, rest[1:]
    late = next((word for word in rest if word.startswith("-")), None)
    if late is not None:
        raise WrongUsage(f"{late!a} stands after a recipient; options come first, then '--'")
    return options, rest


def _take(rest: list[str], options: dict[str, str]) -> None:
    """Move one word of bundled options, and a value that is the next word, from `rest` to `options`."""
    letters = rest.pop(0)[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _PLAIN:
            options[letter] = ""
            continue
        value = letters
        if letter in _VALUE and not value:
            if not rest:
                raise WrongUsage(f"-{letter} needs a value")
            value = rest.pop(0)
        elif letter not in _VALUE + _ATTACHED:
            raise WrongUsage(f"{'-' + letter!a} is not an option of sendmail")
        options[letter] = f"{options.get(letter, '')} {value}".strip() if letter in "bo" else value
        return


def _run(words: list[str]) -> int:
    options, words = parse(words)
    modes = set(options.get("b", "m").split())
    if modes & {"i"} or ("q" in options and not words and "t" not in options):
        return 0
    if modes == {"p"}:
        return _list_queue()
    if modes != {"m"}:
        raise WrongUsage(f"the mode -b{' -b'.join(sorted(modes))} is not supported; 'serve' speaks SMTP")
    if "t" in options and words:
        raise WrongUsage("recipients are given both as arguments and by -t; give one of the two")
    if "t" not in options and not words:
        raise WrongUsage("no recipients; name them, or take them from the header with -t")
    return _send(options, words)


def _send(options: dict[str, str], words: list[str]) -> int:
    stop_on_signals()
    from maildir_safe._submission import message, spool
    from maildir_safe._submission.settings import load
    from maildir_safe._submission.stdin import read_message

    settings = load()
    user = _user(settings)
    sender = message.sender(options.get("f", options.get("r", user)), settings.domain)
    recipients = message.recipients(words, settings.domain)
    if sys.stdin is None:
        raise WrongUsage("standard input is closed, but the message is read from it")
    until_dot = "i" not in options and "i" not in options.get("o", "").split()
    raw = sys.stdin.buffer.raw  # type: ignore[union-attr]
    given = message.Submitted(read_message(raw, settings.size_limit, until_dot=until_dot), settings.domain)
    if "t" in options:
        recipients = given.recipients()
    dsn = _dsn(options, recipients) if options.keys() & {"N", "R", "V"} else None
    now = time.time()
    unique = f"{time.time_ns()}.{os.urandom(8).hex()}"
    whole = given.completed(sender or user, options.get("F", ""), now, unique)
    queue = spool.open_spool(settings.spool)
    hold_signals()  # from here on the outcome is reported, whatever it is
    spool.put(queue, (spool.received(settings.host, "sendmail", now), *whole), [(sender, recipients)], dsn)
    return 0


def _dsn(options: dict[str, str], recipients: list[str]) -> Dsn:
    from maildir_safe._delivery.dsn import Dsn, xtext

    try:
        notify = dict.fromkeys(recipients, options.get("N", ""))
        return Dsn(options.get("R", ""), xtext(options.get("V", "")), notify)
    except ValueError as error:
        raise WrongUsage(str(error)) from error


def _user(settings: Settings) -> str:
    """The address of the calling user."""
    import pwd

    from maildir_safe._submission.mailbox_list import complete_address

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, perhaps
        name = f"uid-{os.getuid()}"
    return complete_address(name, settings.domain)


def _list_queue() -> int:
    from maildir_safe._submission.settings import load

    spool = load().spool
    from maildir_safe._cli import main as maildir_safe

    return maildir_safe(["queue", "ls", spool])


def stop_on_signals(*others: int) -> None:
    """Let SIGTERM, SIGHUP, SIGINT and `others` raise `Stopped`; `hold_signals` blocks the first three."""
    import _signal  # type: ignore[import-not-found]  # `signal` costs a tenth of the start-up

    def stop(number: int, _: object) -> None:
        import signal

        raise Stopped(signal.Signals(number).name)

    numbers = _signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT, *others
    for number in numbers:
        _signal.signal(number, stop)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, numbers)


def _failed(reason: str, code: int) -> int:
    print_reason(f"sendmail: {reason}")
    return code
