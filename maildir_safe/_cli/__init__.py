"""The command `maildir-safe`: a table of verbs. A verb's module is imported when it is called.

Mail servers run `deliver`, and bounce mail at any exit code but 0 and 75. So whatever goes wrong
with it, up to a verb that is misspelt in a server's configuration, ends here as exit 75 and one
line that begins with a status code (RFC 3463), which Postfix takes over; only what is wrong with
the message itself is 65. Nothing that could fail is imported before that guard stands.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

VERBS = {
    "deliver": "put the message on standard input into a Maildir; for mail servers",
    "run": "run a program that needs hard links, where there are none",
    "serve": "take mail by SMTP and LMTP and store it in Maildirs",
    "ls": "list the messages of a Maildir",
    "show": "print a message",
    "clean": "remove what interrupted deliveries left in tmp/",
    "queue": "look at a spool and change it: put, ls, show, why, hold, retry, rm, stats",
    "work": "hand what is in a spool to Maildirs or to another server",
    "fsck": "look for what is wrong in a spool or a Maildir, and mend it",
    "probe": "say what a mount does, and whether it is safe for mail",
    "bench": "measure how fast mail is on a mount, and what each safety costs",
    "compare": "tell of two results of bench: faster, slower, or no significant difference",
    "torture": "kill writers at random on a mount, then count what is lost or doubled",
}
"""What each verb does; its module in this package has the same name, `add_arguments` and `run`."""

TEMPORARY = 75
"""The one exit code that Postfix, Exim, qmail and fetchmail all take for "try again" (EX_TEMPFAIL)."""

REFUSED = 65
"""The message itself cannot be delivered, now or later (EX_DATAERR)."""

USAGE = 64
"""The command was used wrongly (EX_USAGE). `deliver` and `run` say `TEMPORARY`: 64 would bounce mail."""

WRONG = 1
"""Something was looked for and is wrong, or is not there: what `fsck`, `probe` and the like are for."""

INTERRUPTED = 130
"""Ctrl-C, as a shell tells it: 128 and the number of the signal."""


def main(words: list[str] | None = None) -> int:
    """Run the command.

    Args:
        words: the arguments, the verb first; `sys.argv` if None.

    Returns:
        The exit code.
    """
    if words is not None:
        return _run(words)
    if sys.argv[1:2] == ["deliver"]:
        hold_signals()
        code = _run(sys.argv[1:])
        _close_stdout()
        os._exit(code)  # taking the interpreter down step by step costs a delivery a tenth of its time
    code = _run(sys.argv[1:])
    _close_stdout()
    return code


def hold_signals() -> None:
    """Keep back what would end this process: a mail server bounces mail when its command dies of a signal.

    `deliver` lets them in while it can answer with 75. What has been decided is then told.
    """
    import _signal  # type: ignore[import-not-found]  # `signal` costs a tenth of the start-up

    while True:
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT))
            return
        except KeyboardInterrupt:  # the last one that was let in
            continue


def _run(words: list[str]) -> int:
    verb = words[0] if words else ""
    if verb in ("-h", "--help", "--version"):
        return _about(verb)
    if verb in ("deliver", "run") or verb not in VERBS:
        return _for_mail_servers(verb, words[1:])
    return _for_people(verb, words[1:])


def _about(word: str) -> int:
    if word == "--version":
        from maildir_safe import __version__

        print(f"maildir-safe {__version__}")
    else:
        print(_overview())
    return 0


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<9} {what}" for verb, what in VERBS.items())
    return f"usage: maildir-safe VERB ...\n\n{verbs}\n\n'maildir-safe VERB --help' tells more."


def _for_mail_servers(verb: str, words: list[str]) -> int:
    try:
        if verb not in ("deliver", "run"):
            if not verb:
                print(_overview(), file=sys.stderr)
                return TEMPORARY
            return _refuse("4.3.5", f"maildir-safe has no verb {verb!r}; 'maildir-safe --help' lists them")
        if verb == "run":
            from maildir_safe._cli import run

            return run.main(words)
        from maildir_safe._cli import deliver

        return deliver.main(words)
    except BaseException as error:  # noqa: BLE001 - the mail server must not see a traceback: it would bounce
        return _explain(error)


def _explain(error: BaseException) -> int:
    status = getattr(error, "status", None)
    if isinstance(status, str):  # one of our own errors
        who = f" (this runs as uid {os.geteuid()})" if isinstance(error.__cause__, PermissionError) else ""
        return _refuse(status, f"{error}{who}")
    if isinstance(error, KeyboardInterrupt):
        return _refuse("4.3.0", "interrupted; the message stays with the mail server")
    if isinstance(error, MemoryError):
        return _refuse("4.3.0", "out of memory")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return _refuse("4.3.0", f"unexpected {type(error).__name__}: {error}{where}; please report this")


def _refuse(status: str, text: str) -> int:
    """Say why, in one line, and give the exit code that belongs to the status."""
    line = "".join(c if c.isprintable() else " " for c in text)
    try:
        print(status, line, file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody listens; the exit code is what counts
    return REFUSED if status.startswith("5") else TEMPORARY


def _for_people(verb: str, words: list[str]) -> int:
    from maildir_safe._cli.arguments import ArgumentParser
    from maildir_safe.errors import MaildirSafeError, PermanentError, TemporaryError

    module = _module(verb)
    parser = ArgumentParser(prog=f"maildir-safe {verb}", description=VERBS[verb].capitalize() + ".")
    module.add_arguments(parser)
    args = parser.parse_args(words)
    try:
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return 0  # `| head` has seen enough
    except (MaildirSafeError, OSError) as error:
        print(f"maildir-safe {verb}: {_in_words(error)}", file=sys.stderr)
        if isinstance(error, PermanentError):
            return REFUSED
        return TEMPORARY if isinstance(error, (TemporaryError, OSError)) else WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


def _in_words(error: Exception) -> str:
    """An error for people: what it is about, then why; never ``[Errno 13]``."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _module(verb: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"maildir_safe._cli.{verb}")


def _close_stdout() -> None:
    """Before the interpreter does: an error there would turn the exit code into 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.close()
    except OSError:
        pass
