"""The SMTP extensions of this server: the list, and the parameters and verbs that they add together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol.extension import BINARY, CODES, DSN, EIGHT_BIT, PIPELINING, SIZE, UTF8
from maildir_safe._smtp.server.authentication import AUTH
from maildir_safe._smtp.server.chunking import CHUNKING
from maildir_safe._smtp.server.starttls import STARTTLS

if TYPE_CHECKING:
    from maildir_safe._smtp.protocol.extension import Offer

EXTENSIONS = (PIPELINING, SIZE, EIGHT_BIT, UTF8, CODES, CHUNKING, BINARY, STARTTLS, AUTH, DSN)

MAIL_PARAMETERS = {name: check for extension in EXTENSIONS for name, check in extension.mail.items()}
"""The parameters of MAIL, each with the check of its value."""

RCPT_PARAMETERS = {name: check for extension in EXTENSIONS for name, check in extension.rcpt.items()}
"""The parameters of RCPT, each with the check of its value."""

VERBS = {verb: run for extension in EXTENSIONS for verb, run in extension.verbs.items()}
"""The commands that extensions add. Each is called with the connection and the command's argument."""


def greeting(hostname: str, offer: Offer) -> str:
    """The reply to EHLO or LHLO: several lines, without the last CRLF."""
    lines = [hostname, *(word for extension in EXTENSIONS if (word := extension.word(offer)))]
    return "\r\n".join(["250-" + line for line in lines[:-1]] + ["250 " + lines[-1]])
