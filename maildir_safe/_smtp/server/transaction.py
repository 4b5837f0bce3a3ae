"""The mail transaction of a connection (RFC 5321 3.3): what MAIL and RCPT have said so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maildir_safe._smtp.backends.store import Recipient


class Transaction:
    """Begins with MAIL, ends with the answer to DATA.

    Attributes:
        sender: None before MAIL.
        recipients: those that were accepted.
        refused: addresses that were not, at most as many as a message may have recipients.
        overshoot: recipients beyond the limit.
        utf8: whether SMTPUTF8 was asked for.
        envelope_id: ENVID (RFC 3461), decoded.
    """

    def __init__(self) -> None:
        self.sender: str | None = None
        self.recipients: list[Recipient] = []
        self.refused: list[str] = []
        self.overshoot = 0
        self.utf8 = False
        self.envelope_id: str | None = None

    @property
    def addresses(self) -> list[str]:
        """Of the recipients."""
        return [recipient.address for recipient in self.recipients]
