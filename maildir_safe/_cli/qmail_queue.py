"""`maildir-safe qmail-queue`: the interface of qmail-queue(8), which programs call by ``$QMAILQUEUE``.

Standard output is not for printing here: the envelope is read from descriptor 1.
"""

from __future__ import annotations

import time

from maildir_safe._cli import hold_signals, print_reason
from maildir_safe._cli.sendmail import Stopped, stop_on_signals, stopped_by
from maildir_safe.errors import MaildirSafeError, PermanentError, TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._submission.settings import Settings

HELP = """\
usage: maildir-safe qmail-queue 0< message 1< envelope

Put the message on descriptor 0 into the queue, with the envelope on descriptor 1:
F SENDER NUL, then T RECIPIENT NUL for each recipient, then NUL. Programs call this by
$QMAILQUEUE, which takes no arguments: make a symbolic link named qmail-queue to maildir-safe.
Exits with 0 only after the message is durable in the spool. Adds Received, as qmail-queue
does. A sender that ends in '-@[]' becomes one sender for each recipient (VERP).

Configuration: as of 'maildir-safe sendmail'.

Exit codes: 0 queued; 11 an address is too long; 31 the message is refused for good;
51 out of memory; 52 timeout (one day); 53 the disk is full or cannot be written; 54 the
message or the envelope cannot be read; 55 wrong configuration; 62 the spool cannot be used;
71 stopped by a signal; 81 a bug; 91 the envelope is malformed. The reason is one line on
standard error.
"""

_TIMEOUT = 86_400  # seconds, as in qmail-queue
_ADDRESS_TOO_LONG, _REFUSED, _NO_MEMORY, _TIMED_OUT, _WRITE, _READ = 11, 31, 51, 52, 53, 54
_CONFIGURATION, _SPOOL, _STOPPED, _BUG, _ENVELOPE = 55, 62, 71, 81, 91


class Failed(Exception):
    """Nothing was queued.

    Args:
        text: the reason.
        code: the exit code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def main(words: list[str]) -> int:
    """Queue one message. Returns the exit code; prints the reason if it is not 0."""
    if words == ["--help"]:
        print(HELP, end="")
        return 0
    try:
        _run()
        return 0
    except Failed as error:
        return _explain(str(error), error.code)
    except Stopped as stop:
        return _stopped(stop)
    except KeyboardInterrupt:
        return _explain("stopped; nothing is queued", _STOPPED)
    except MemoryError:
        return _explain("out of memory", _NO_MEMORY)
    except Exception as error:  # noqa: BLE001 - the caller knows exit codes, not tracebacks
        if found := stopped_by(error):
            return _stopped(found)
        return _explain(f"unexpected {type(error).__name__}: {error}; please report this", _BUG)


def _run() -> None:
    import _signal  # type: ignore[import-not-found]  # `signal` costs a tenth of the start-up

    stop_on_signals(_signal.SIGALRM)
    _signal.alarm(_TIMEOUT)
    from maildir_safe._submission import qmail
    from maildir_safe._submission.settings import load

    try:
        settings = load()
    except MaildirSafeError as error:
        raise Failed(str(error), _CONFIGURATION) from error
    try:
        message = qmail.read_message(settings.size_limit)
        sender, recipients = qmail.read_envelope()
        envelopes = qmail.envelopes(sender, recipients, settings.domain)
    except qmail.Malformed as error:
        raise Failed(str(error), _ENVELOPE) from error
    except qmail.TooLong as error:
        raise Failed(str(error), _ADDRESS_TOO_LONG) from error
    except PermanentError as error:
        raise Failed(str(error), _REFUSED) from error
    except TemporaryError as error:
        raise Failed(str(error), _READ) from error
    _put(settings, message, envelopes)


def _put(settings: Settings, message: bytes, envelopes: list[tuple[str, list[str]]]) -> None:
    from maildir_safe._delivery.content import gap
    from maildir_safe._submission import spool

    received = spool.received(settings.host, "qmail-queue", time.time())
    complete = (received + gap(message), message)
    try:
        queue = None if settings.submit else spool.open_spool(settings.spool)
    except MaildirSafeError as error:
        raise Failed(str(error), _SPOOL) from error
    try:
        if queue is None:
            from maildir_safe._submission import local_socket

            local_socket.put(settings.submit, complete, envelopes, before_the_end=_hold)
        else:
            _hold()
            spool.put(queue, complete, envelopes)
    except PermanentError as error:
        permitted = getattr(error, "exit_code", 0) != 77
        raise Failed(str(error), _REFUSED if permitted else _SPOOL) from error
    except TemporaryError as error:
        raise Failed(str(error), _WRITE) from error


def _hold() -> None:
    """From here on the outcome is reported, whatever it is."""
    import _signal

    hold_signals()
    _signal.alarm(0)


def _stopped(stop: Stopped) -> int:
    timed_out = stop.args[0] == "SIGALRM"
    return _explain(f"stopped by {stop.args[0]}; nothing is queued", _TIMED_OUT if timed_out else _STOPPED)


def _explain(reason: str, code: int) -> int:
    print_reason(f"qmail-queue: {reason}")
    return code
