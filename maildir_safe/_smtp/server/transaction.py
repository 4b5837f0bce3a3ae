"""The mail transaction of a connection (RFC 5321 3.3): the envelope, as MAIL and RCPT give it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._smtp.backends.store import Recipient
    from maildir_safe._smtp.server.chunking import Chunks


class Transaction:
    """A transaction. It begins with MAIL and ends with the reply to DATA, or to the last BDAT.

    Attributes:
        sender: the address of MAIL; None before MAIL.
        recipients: the accepted recipients.
        refused: the refused addresses, at most as many as a message may have recipients.
        overshoot: number of recipients beyond the limit.
        utf8: whether the client asked for SMTPUTF8.
        envelope_id: ENVID (RFC 3461), decoded; None if not given.
        dsn: the reports that the sender asks for; None before the first parameter of MAIL or RCPT.
        binary: whether the message is not lines of text (BINARYMIME): it comes by BDAT and stays as it is.
        chunks: what has arrived by BDAT; None before the first.
    """

    def __init__(self) -> None:
        self.sender: str | None = None
        self.recipients: list[Recipient] = []
        self.refused: list[str] = []
        self.overshoot = 0
        self.utf8 = self.binary = False
        self.envelope_id: str | None = None
        self.dsn: Dsn | None = None
        self.chunks: Chunks | None = None

    def close(self) -> None:
        """The transaction is over: release the memory of chunks that were not stored."""
        chunks, self.chunks = self.chunks, None
        if chunks is not None:
            chunks.close()

    @property
    def addresses(self) -> list[str]:
        """The addresses of the recipients."""
        return [recipient.address for recipient in self.recipients]
