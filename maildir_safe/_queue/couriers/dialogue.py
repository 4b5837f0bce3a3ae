"""The client's side of an SMTP or LMTP dialogue in which no reply is taken for another's.

`smtplib` reads whatever comes next as the reply to the last command. A server, or somebody on the way, that
answers once too often would then have its second "250" counted for the next recipient, or for the message.
Here nothing may have come before a command is sent, a reply is read as a whole, and everything out of order
is `OutOfOrder`: nobody knows what became of the message.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from typing import TYPE_CHECKING

from maildir_safe._delivery.status import RecipientStatus, one_line

if TYPE_CHECKING:
    from typing import Any

    class _Base(smtplib.SMTP):
        """What `Strict` is put in front of."""
else:
    _Base = object

_LONGEST_LINE = 4096
_MOST_LINES = 128
_LINE = re.compile(rb"([2-5][0-9]{2})([ -])(.*)|([2-5][0-9]{2})")


class OutOfOrder(smtplib.SMTPException):
    """A reply that is none, or one that nobody asked for: what it says of the message is not known."""


class Strict(_Base):
    """Put in front of a class of `smtplib`: replies are read strictly, and each belongs to its command."""

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command. Raises OutOfOrder: the server has said something without being asked."""
        self.nothing_may_have_come()
        super().putcmd(cmd, args)

    def nothing_may_have_come(self) -> None:
        """Raises OutOfOrder: there is more to read than the replies that were waited for."""
        if self.sock is None or self.file is None:
            return
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            unread: Any = self.file.peek(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            unread = b""
        except OSError as error:
            raise smtplib.SMTPServerDisconnected(f"the connection has ended: {error}") from error
        finally:
            self.sock.settimeout(timeout)
        if unread:
            raise OutOfOrder("the server sent a reply that nobody had asked for")

    def getreply(self) -> tuple[int, bytes]:
        """One reply, all of its lines with one code. Raises OutOfOrder, SMTPServerDisconnected."""
        if self.file is None:
            assert self.sock is not None
            self.file = self.sock.makefile("rb")
        lines: list[bytes] = []
        code = b""
        while len(lines) < _MOST_LINES:
            match = _LINE.fullmatch(self._line())
            if match is None:
                raise OutOfOrder("the server sent a line that is no reply")
            this, more, text, alone = match.groups()
            if code and code != (this or alone):
                raise OutOfOrder("the server sent a reply with two codes")
            code = this or alone
            lines.append((text or b"").strip())
            if more != b"-":
                return int(code), b"\n".join(lines)
        raise OutOfOrder("the server sent an endless reply")

    def _line(self) -> bytes:
        try:
            line = self.file.readline(_LONGEST_LINE) if self.file is not None else b""
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"the connection ended: {error}") from error
        if not line.endswith(b"\n"):
            self.close()
            raise smtplib.SMTPServerDisconnected(
                "the connection ended within a reply, or the line is endless"
            )
        return bytes(line).rstrip(b"\r\n")


class Smtp(Strict, smtplib.SMTP):
    """SMTP, strictly."""


class SmtpTls(Strict, smtplib.SMTP_SSL):
    """SMTP in TLS from the start, strictly."""


class Lmtp(Strict, smtplib.LMTP):
    """LMTP, strictly."""


def status_of(reply: tuple[int, bytes]) -> RecipientStatus:
    """What a reply to MAIL, RCPT or the message says; raises OutOfOrder if it is no reply to any of these."""
    code, text = reply
    if not (250 <= code < 260 or 400 <= code < 600):
        raise OutOfOrder(f"{code} is no reply to this command")
    return RecipientStatus(code, one_line(text.decode("utf-8", "replace")))


def in_step(server: smtplib.SMTP) -> None:
    """Make sure that a refusal was meant for the command it was read for, before mail is bounced for it.

    If one reply came too many, the reply to RSET is not the next one that is read. A server that hangs up
    instead of answering has not answered too often.

    Raises:
        OutOfOrder: it was not.
    """
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        code, _ = server.docmd("RSET")
        if code not in (250, 421):
            raise OutOfOrder(f"{code} is no reply to RSET")


def farewell(server: smtplib.SMTP) -> None:
    """End the dialogue; the last reply must be the one to QUIT.

    Raises:
        OutOfOrder: there was another before it, so that replies may have been taken for others'.
    """
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        code, _ = server.docmd("QUIT")
        if code not in (221, 421):
            raise OutOfOrder(f"{code} is no reply to QUIT")
