"""Hands a submitted message to the local socket of `maildir-safe serve --queue`, by LMTP (RFC 2033).

So a user who may not write into the spool can send, and reads or changes nobody else's mail. Not by
`smtplib`, which takes longer to import than all of this takes to run.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from maildir_safe._delivery.status import one_line
from maildir_safe._submission import NO_PERMISSION, Rejected
from maildir_safe._submission.spool import in_items
from maildir_safe.errors import TemporaryError, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from maildir_safe._delivery.dsn import Dsn

_TIMEOUT = 600.0  # seconds for a reply: RFC 5321 section 4.5.3.2.6
_FAREWELL = 10.0  # seconds for the reply to QUIT, which comes after everything that matters
_LONGEST_LINE, _MOST_LINES = 4096, 100

_SURPLUS = "the server sent a surplus reply"

Reply = tuple[str, str]


def put(
    path: str,
    message: tuple[bytes, ...],
    envelopes: Sequence[tuple[str, Sequence[str]]],
    dsn: Dsn | None = None,
    before_the_end: Callable[[], None] = lambda: None,
) -> None:
    """Hand a message to the server. It is durable in the server's queue when this returns.

    Args:
        path: the socket.
        message: the pieces of the message, with LF line ends.
        envelopes: senders, each with its recipients. Up to 50 recipients are taken together or not at all.
        dsn: the reports that the sender asks for.
        before_the_end: called before the message is complete for the server; from then on it may be queued.

    Raises:
        TemporaryError: nothing was queued, or the text says that a part was.
        UnknownOutcome: no reply came to the whole message.
        Rejected: the server refuses the message or an address (exit code 65), or this user may not
            connect (77).
    """
    data = b"".join(message)
    body = (b"." * data.startswith(b".") + data.replace(b"\n.", b"\n..")).replace(b"\n", b"\r\n")
    body += b"" if body.endswith(b"\r\n") else b"\r\n"
    items = [(sender, group) for sender, recipients in envelopes for group in in_items(recipients)]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_TIMEOUT)
        try:
            sock.connect(path)
        except PermissionError as error:
            raise Rejected(f"{path}: {error.strerror}", NO_PERMISSION) from error
        except OSError as error:
            raise TemporaryError(f"{path}: {error.strerror or error}; is the server running?") from error
        client = _Client(sock)
        for number, (sender, group) in enumerate(items):
            try:
                if not number:
                    client.greet()
                client.send(sender, group, body, dsn, before_the_end)
            except (TemporaryError, Rejected) as error:
                if isinstance(error, Rejected):
                    client.quit_checked()
                if not number:
                    raise
                raise TemporaryError(
                    f"{error}; {number} of {len(items)} parts of the recipients are queued"
                ) from error
        client.quit_checked()


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file: BinaryIO = sock.makefile("rb")
        self._offered: set[str] = set()

    def greet(self) -> None:
        _check(self._reply(), "220")
        reply = self._ask("LHLO localhost")
        _check(reply, "250")
        self._offered = {line.partition(" ")[0].upper() for line in reply[1].split("\n")[1:]}

    def send(
        self,
        sender: str,
        recipients: Sequence[str],
        body: bytes,
        dsn: Dsn | None,
        before_the_end: Callable[[], None],
    ) -> None:
        """One transaction, with one reply per recipient at its end."""
        reports = dsn if dsn and "DSN" in self._offered else None
        utf8 = not "".join((sender, *recipients)).isascii()
        words = " BODY=8BITMIME" * ("8BITMIME" in self._offered) + " SMTPUTF8" * utf8
        _check(self._ask(f"MAIL FROM:<{sender}>{words}{reports.message_words() if reports else ''}"), "250")
        for who in recipients:
            _check(self._ask(f"RCPT TO:<{who}>{reports.recipient_words(who) if reports else ''}"), "250")
        _check(self._ask("DATA"), "354")
        self._write(body)
        before_the_end()
        try:
            self._write(b".\r\n")
            replies = [self._reply() for _ in recipients]
        except TemporaryError as error:
            raise UnknownOutcome(f"{error}; the message may be queued") from error
        for reply in replies:
            try:
                _check(reply, "250")
            except (TemporaryError, Rejected) as error:
                if any(other[0] == "250" for other in replies):
                    raise TemporaryError(f"{error}; it is queued for a part of the recipients") from error
                raise

    def quit_checked(self) -> None:
        """End the dialogue, and verify that the last reply is the one to QUIT.

        After a surplus reply it is not: then a reply may have been taken for that of another recipient.
        A server that hangs up instead has sent no surplus reply.

        Raises:
            UnknownOutcome: it is another reply.
        """
        self._sock.settimeout(_FAREWELL)
        try:
            code, _ = self._ask("QUIT")
        except UnknownOutcome:
            raise
        except TemporaryError:
            return
        if code not in ("221", "421"):
            raise UnknownOutcome(f"{_SURPLUS}; the message may be queued")

    def _check_nothing_unread(self) -> None:
        """Raise UnknownOutcome if there is more to read than the replies to the commands so far."""
        timeout = self._sock.gettimeout()
        self._sock.settimeout(0)
        try:
            unread = self._file.peek(1)  # type: ignore[attr-defined]
        except OSError:
            return  # nothing, or the end, which the next call tells
        finally:
            self._sock.settimeout(timeout)
        if unread:
            raise UnknownOutcome(f"{_SURPLUS}; the message may be queued")

    def _ask(self, line: str) -> Reply:
        self._check_nothing_unread()
        self._write(f"{line}\r\n".encode("utf-8", "surrogateescape"))
        return self._reply()

    def _write(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise TemporaryError(f"the server hung up: {error.strerror or error}") from error

    def _reply(self) -> Reply:
        lines: list[str] = []
        while len(lines) < _MOST_LINES:
            try:
                line = self._file.readline(_LONGEST_LINE)
            except OSError as error:
                raise TemporaryError(f"the server does not answer: {error.strerror or error}") from error
            if not line.endswith(b"\n") or not line[:3].isdigit():
                raise TemporaryError("the server hung up, or does not speak LMTP")
            lines.append(line[4:].decode("utf-8", "replace").strip())
            if line[3:4] != b"-":
                return line[:3].decode(), "\n".join(lines)
        raise TemporaryError("the server does not speak LMTP")


def _check(reply: Reply, wanted: str) -> None:
    """Raise the error for any other reply than the one that is wanted."""
    code, text = reply
    if code == wanted:
        return
    reason = f"the server said {code} {one_line(text, 300)}"
    if code[0] == "5":
        raise Rejected(reason)
    raise TemporaryError(reason)
