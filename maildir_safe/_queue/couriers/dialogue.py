"""The client's side of an SMTP or LMTP dialogue in which each reply is matched to its own command.

`smtplib` reads whatever comes next as the reply to the last command. If a server, or an attacker on the way,
sends one reply too many, `smtplib` counts the surplus "250" for the next recipient, or for the message.
This module checks before each command that no unread reply is waiting, and reads each reply as a whole.
It raises `ProtocolDesync` for everything out of order: the outcome of the message is then unknown.
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
        """The class that `Strict` is mixed into."""
else:
    _Base = object

_LONGEST_LINE = 4096
_MOST_LINES = 128
_LINE = re.compile(rb"([2-5][0-9]{2})([ -])(.*)|([2-5][0-9]{2})")


class ProtocolDesync(smtplib.SMTPException):
    """The server sent a malformed or an unsolicited reply; the outcome of the message is unknown."""


class Strict(_Base):
    """Mixed into a class of `smtplib`: reads replies strictly, and matches each to its command."""

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command. Raises ProtocolDesync: the server has sent an unsolicited reply."""
        self.check_no_unsolicited_reply()
        super().putcmd(cmd, args)

    def check_no_unsolicited_reply(self) -> None:
        """Raises ProtocolDesync: there is more to read than the replies to the commands sent so far."""
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
            raise ProtocolDesync("the server sent an unsolicited reply")

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply, whose lines all have the same code.

        Raises ProtocolDesync, SMTPServerDisconnected.
        """
        if self.file is None:
            assert self.sock is not None
            self.file = self.sock.makefile("rb")
        lines: list[bytes] = []
        code = b""
        while len(lines) < _MOST_LINES:
            match = _LINE.fullmatch(self._line())
            if match is None:
                raise ProtocolDesync("the server sent a line that is not a reply")
            this, more, text, alone = match.groups()
            if code and code != (this or alone):
                raise ProtocolDesync("the server sent a reply with two codes")
            code = this or alone
            lines.append((text or b"").strip())
            if more != b"-":
                return int(code), b"\n".join(lines)
        raise ProtocolDesync("the server sent an endless reply")

    def _line(self) -> bytes:
        try:
            line = self.file.readline(_LONGEST_LINE) if self.file is not None else b""
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"the connection ended: {error}") from error
        if not line.endswith(b"\n"):
            self.close()
            raise smtplib.SMTPServerDisconnected(
                "the connection ended within a reply, or a line was too long"
            )
        return bytes(line).rstrip(b"\r\n")


class Smtp(Strict, smtplib.SMTP):
    """SMTP, strictly."""


class SmtpTls(Strict, smtplib.SMTP_SSL):
    """SMTP in TLS from the start, strictly."""


class Lmtp(Strict, smtplib.LMTP):
    """LMTP, strictly."""


def status_of(reply: tuple[int, bytes]) -> RecipientStatus:
    """The status in a reply to MAIL, RCPT or the message. Raises ProtocolDesync for any other code."""
    code, text = reply
    if not (250 <= code < 260 or 400 <= code < 600):
        raise ProtocolDesync(f"{code} is not a reply to this command")
    return RecipientStatus(code, one_line(text.decode("utf-8", "replace")))


def verify_synchronised(server: smtplib.SMTP) -> None:
    """Verify that replies and commands are still in step, before a refusal bounces mail.

    After a surplus reply, the next reply that is read is not the one to RSET. If the server hangs up
    instead of replying, there was no surplus reply.

    Raises:
        ProtocolDesync: they are not in step.
    """
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        code, _ = server.docmd("RSET")
        if code not in (250, 421):
            raise ProtocolDesync(f"{code} is not a reply to RSET")


def quit_checked(server: smtplib.SMTP) -> None:
    """End the dialogue, and verify that the last reply is the one to QUIT.

    Raises:
        ProtocolDesync: it is another one, so earlier replies may have been matched to the wrong commands.
    """
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        code, _ = server.docmd("QUIT")
        if code not in (221, 421):
            raise ProtocolDesync(f"{code} is not a reply to QUIT")
