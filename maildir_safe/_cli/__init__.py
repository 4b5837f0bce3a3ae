"""The command `maildir-safe`: a table of verbs. A verb's module is imported when it is called.

Mail servers run `deliver`, and bounce mail on any exit code but 0 and 75. So every error of it,
even a verb misspelt in a server's configuration, ends here with exit code 75 and one line that
begins with a status code (RFC 3463), which Postfix uses. Only an error of the message itself is 65.
Nothing that could fail is imported outside of this guard.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

VERBS = {
    "deliver": "put the message on standard input into a Maildir; for mail servers",
    "run": "run a program that needs hard links on a mount without hard links",
    "sendmail": "put the message on standard input into the queue, as programs that call sendmail expect",
    "qmail-queue": "put a message into the queue, as programs that call $QMAILQUEUE expect",
    "serve": "accept mail by SMTP and LMTP and store it in Maildirs",
    "passwd": "set a password in the file of serve --auth",
    "create": "make a Maildir, its folders, and give it to its user",
    "ls": "list the messages of a Maildir",
    "show": "print a message",
    "clean": "remove what interrupted deliveries left in tmp/",
    "queue": "inspect and change a spool: put, ls, show, why, hold, retry, rm, stats",
    "work": "deliver the messages in a spool to Maildirs or to another server",
    "fsck": "check a spool or a Maildir for damage, and mend it",
    "probe": "test how a mount behaves, and whether it is safe for mail",
    "bench": "measure how fast mail is on a mount, and what each safety measure costs",
    "compare": "compare two results of bench: faster, slower, or no significant difference",
    "torture": "kill writers at random on a mount, then count lost and doubled messages",
}
"""What each verb does. Its module in this package has the same name, with `add_arguments` and `run`."""

FOR_PROGRAMS = ("deliver", "run", "sendmail", "qmail-queue")
"""The verbs that programs start: they parse their words and choose their exit codes themselves."""

_PROGRAM_NAMES = {
    "sendmail": ["sendmail"],
    "mailq": ["sendmail", "-bp"],
    "newaliases": ["sendmail", "-bi"],
    "qmail-queue": ["qmail-queue"],
}
"""Names of symbolic links to the command, and the verb and arguments that each implies."""

TEMPORARY = 75
"""The one exit code that Postfix, Exim, qmail and fetchmail all understand as "try again" (EX_TEMPFAIL)."""

REFUSED = 65
"""The message itself cannot be delivered, now or later (EX_DATAERR)."""

USAGE = 64
"""The command was used wrongly (EX_USAGE). `deliver` and `run` use `TEMPORARY`: 64 would bounce mail."""

WRONG = 1
"""A check found something wrong (`fsck`, `probe` and the like), or something is missing."""

_TICK = 1.0  # seconds
_HANGUP = (1,)  # SIGHUP; `signal` costs a tenth of the start-up
_OF_QMAIL = (15, 1, 2, 14)  # SIGALRM too: an alarm that the caller has set outlives exec

INTERRUPTED = 130
"""Ctrl-C, as shells report it: 128 plus the number of the signal."""


def main(words: list[str] | None = None) -> int:
    """Run the command.

    Args:
        words: the arguments, the verb first; `sys.argv` if None.

    Returns:
        The exit code.
    """
    if words is not None:
        return _run(words)
    words = _words_of(sys.argv)
    if words[:1] in (["deliver"], ["sendmail"], ["qmail-queue"]):
        hold_signals(_OF_QMAIL if words[0] == "qmail-queue" else ())
        _import_quickly()
        gc.disable()  # one message makes no cycles worth a collection, which would cost a twentieth
        code = _run(words)
        _close_stdout()
        os._exit(code)  # an orderly exit of the interpreter would take a tenth of a delivery's time
    if words[:1] in (["serve"], ["work"]):
        hold_signals(_HANGUP)  # until they have their handlers: SIGHUP reloads, or ends in order
    elif words[:2] == ["queue", "put"]:
        hold_signals()  # except while the message is read
    code = _run(words)
    _close_stdout()
    return code


def _words_of(argv: list[str]) -> list[str]:
    """The arguments, with the verb that the name of the program implies."""
    name = argv[0].rpartition("/")[2]
    return [*_PROGRAM_NAMES[name], *argv[1:]] if name in _PROGRAM_NAMES else argv[1:]


def _import_quickly() -> None:
    try:
        from maildir_safe._cli.quick_imports import install

        install(__name__.partition(".")[0], __file__.rpartition("/_cli/")[0])
    except Exception:  # noqa: BLE001 - not in this interpreter, or a damaged file, of which `_run` will tell
        return


def hold_signals(numbers: tuple[int, ...] = ()) -> None:
    """Block signals that would kill this process: a mail server would then bounce the mail.

    `deliver` unblocks them while it can still exit with 75. After that the outcome must be reported.

    Args:
        numbers: the signals; by default SIGTERM, SIGHUP and SIGINT.
    """
    import _signal  # type: ignore[import-not-found]  # `signal` costs a tenth of the start-up

    while True:
        try:
            _signal.pthread_sigmask(
                _signal.SIG_BLOCK, numbers or (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT)
            )
            return
        except KeyboardInterrupt:  # the last one before they were blocked
            continue


class Interruptible:
    """An unbuffered stream whose `read` notices, within a second, a signal that came just before it.

    Python runs a handler between two of its instructions, or when a signal interrupts a call. A signal that
    comes between the last such look and the call itself is noticed when the call ends: when the mail server,
    which may wait for this process, closes the pipe. A timer that ticks during the call closes that window;
    `select` would cost more to load than the rest of the reading.

    Args:
        raw: the stream. The process has no handler for SIGALRM of its own.
    """

    def __init__(self, raw: Any) -> None:
        import _signal

        self._raw, self._set = raw, _signal.setitimer
        self._real = _signal.ITIMER_REAL
        if _signal.getitimer(self._real)[0]:  # the caller's, which outlives exec: it is left alone
            self._set = lambda *_: None
        else:
            _signal.signal(_signal.SIGALRM, lambda *_: None)

    def read(self, size: int) -> Any:
        """As of the stream."""
        self._set(self._real, _TICK, _TICK)
        try:
            return self._raw.read(size)
        finally:
            self._set(self._real, 0.0)


def _run(words: list[str]) -> int:
    verb = words[0] if words else ""
    if verb in ("-h", "--help", "--version"):
        return _about(verb)
    if verb in FOR_PROGRAMS or verb not in VERBS:
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
    verbs = "\n".join(f"  {verb:<11} {what}" for verb, what in VERBS.items())
    return f"usage: maildir-safe VERB ...\n\n{verbs}\n\n'maildir-safe VERB --help' tells more."


def _for_mail_servers(verb: str, words: list[str]) -> int:
    try:
        if verb not in FOR_PROGRAMS:
            if not verb:
                print(_overview(), file=sys.stderr)
                return TEMPORARY
            return _refuse("4.3.5", f"maildir-safe has no verb {verb!r}; 'maildir-safe --help' lists them")
        if verb == "deliver":
            from maildir_safe._cli import deliver

            return deliver.main(words)
        return int(_module(verb).main(words))
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
    """Print the reason as one line, and return the exit code that belongs to the status."""
    print_reason(f"{status} {text}")
    return REFUSED if status.startswith("5") else TEMPORARY


def print_reason(text: str) -> None:
    """Print one line on standard error. Strangers' control characters become blanks."""
    line = "".join(c if c.isprintable() else " " for c in text)
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass  # standard error is closed; the exit code is what counts


def _for_people(verb: str, words: list[str]) -> int:
    from maildir_safe._cli.arguments import ArgumentParser
    from maildir_safe.errors import MaildirSafeError, PermanentError, TemporaryError

    module = _module(verb)
    parser = ArgumentParser(prog=f"maildir-safe {verb}", description=VERBS[verb].capitalize() + ".")
    module.add_arguments(parser)
    args = parser.parse_args(words)
    if "logging" in sys.modules:
        from maildir_safe._cli.log_lines import guard_warnings

        guard_warnings()
    try:
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return 0  # the reader, such as `head`, has closed the pipe
    except (MaildirSafeError, OSError) as error:
        print_reason(f"maildir-safe {verb}: {_in_words(error)}")
        if isinstance(error, PermanentError):
            return REFUSED
        return TEMPORARY if isinstance(error, (TemporaryError, OSError)) else WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


def _in_words(error: Exception) -> str:
    """An error for people: the file, then the reason; never ``[Errno 13]``."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _module(verb: str) -> ModuleType:
    name = verb.replace("-", "_")  # `importlib` would be one more module to load
    return __import__(f"maildir_safe._cli.{name}", fromlist=(name,))


def _close_stdout() -> None:
    """Close standard output before the interpreter does: an error there would make the exit code 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.close()
    except OSError:
        pass
