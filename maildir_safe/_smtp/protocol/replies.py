"""The server's replies: codes with their enhanced codes (RFC 5321, RFC 2034, RFC 3463).

Two rules hold everywhere. A storage error is never answered with a permanent code. No reply
contains a local path or the text of an exception: both go to the log instead.
"""

from __future__ import annotations

from maildir_safe.errors import PermanentError, TemporaryError

STORAGE_FULL = "452 4.3.1 Insufficient system storage, try again later"
STORAGE_FAULT = "451 4.3.0 Storage is not available, try again later"
TOO_MANY_MAILBOXES = "452 4.2.2 Too many mailboxes, and this one is not among them"
TOO_MUCH_AT_ONCE = "452 4.3.1 Too much mail at this moment, try again later"
SHUTTING_DOWN = "421 4.3.2 Service shutting down, try again later"
NO_STORAGE = "421 4.3.0 Storage is not available, try again later"
TOO_MANY_CONNECTIONS = "421 4.7.0 Too many connections, try again later"
NO_PROXY_HEADER = "421 4.7.0 A PROXY header is required from this address, closing connection"
PROXY_REFUSED = "421 4.7.0 No PROXY header is accepted from this address, closing connection"
TIMEOUT = "421 4.4.2 Timeout, closing connection"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"
TOO_BIG = "552 5.3.4 Message is larger than this server accepts"
NO_MAILBOX = "550 5.1.1 No such mailbox here"
MAILBOX_UNCERTAIN = "450 4.2.1 Mailbox is not available at this moment, try again later"
LOOP = "554 5.4.6 Too many hops, mail loop"
BAD_SENDER = "553 5.1.7 Malformed sender address"
BAD_RECIPIENT = "553 5.1.3 Malformed recipient address"
NEEDS_SMTPUTF8 = "553 5.6.7 Address is not ASCII and SMTPUTF8 was not asked for"
UNKNOWN_COMMANDS = "421 4.7.0 Too many unrecognized commands, closing connection"
TOO_MANY_ERRORS = "421 4.7.0 Too many errors, closing connection"
TOO_MUCH_JUNK = "421 4.7.0 Too many commands without mail, closing connection"
LINE_TOO_LONG = "421 4.7.0 Line too long, closing connection"
NOT_SMTP = "421 4.7.0 This is not SMTP, closing connection"
MALFORMED_BDAT = "501 5.5.4 Syntax: BDAT size [LAST]; how much follows is not known, closing connection"
NEEDS_AUTH = "530 5.7.0 Authentication required"
DROPPED = "(connection dropped by a scripted fault)"
CLIENT_LEFT = "(the client left before the reply)"
INTERNAL = "451 4.3.0 Internal error, try again later"

_TEXTS = {
    "4.3.1": STORAGE_FULL,
    "4.2.0": "451 4.2.0 Mailbox is not available, try again later",
    "4.2.2": "452 4.2.2 Mailbox is full, try again later",
}


class Refused(Exception):
    """A command or a message is refused with `reply`.

    Attributes:
        reply: one complete reply line without its CRLF.
    """

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def for_error(error: BaseException) -> str:
    """The reply for an error that a delivery raised.

    Args:
        error: any exception. One that is not an error of this package is a temporary failure: the
            client keeps the message.

    Returns:
        452 or 451 for a `TemporaryError`, 554 for a `PermanentError`, 451 otherwise.
    """
    if isinstance(error, TemporaryError):
        return _TEXTS.get(error.status, STORAGE_FAULT)
    if isinstance(error, PermanentError):
        return f"554 {error.status} Message refused"
    return INTERNAL


def worst(lines: list[str]) -> str:
    """The worst of several replies: permanent before temporary before success.

    A permanent refusal of one recipient outweighs what is stored for others. It is reported to the
    sender, whereas a temporary reply would make the client send to all of them again and again.
    """
    return max(lines, key=lambda line: line[0])
