"""What a session hands over, and to whom: the protocol `Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.status import RecipientStatus


class Recipient:
    """An accepted recipient.

    Attributes:
        address: as the client gave it.
        original: from ORCPT (RFC 3461), if it gave that too.
        mailbox: the path of the Maildir it leads to.
    """

    __slots__ = ("address", "mailbox", "original")

    def __init__(self, address: str, mailbox: str, original: str | None = None) -> None:
        self.address = address
        self.mailbox = mailbox
        self.original = original


class MailObject:
    """One message with its envelope, ready to be stored (RFC 5321 2.3.1).

    Attributes:
        sender: ``""`` for bounces.
        recipients: in the order in which they were accepted.
        received: our Received header.
        body: the message, lines ending in LF, in pieces that are shared by all its copies.
        envelope_id: ENVID (RFC 3461), if the client gave one.
    """

    __slots__ = ("body", "envelope_id", "received", "recipients", "sender")

    def __init__(
        self,
        sender: str,
        recipients: list[Recipient],
        received: bytes,
        body: Sequence[bytes],
        envelope_id: str | None = None,
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.received = received
        self.body = body
        self.envelope_id = envelope_id

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


class Store(Protocol):
    """Takes the messages of all sessions.

    Attributes:
        test_mode: see `routing.Routing`.
        busy: whether file calls are under way, which an orderly end of the process would wait for.
    """

    test_mode: bool

    @property
    def busy(self) -> bool: ...

    async def locate(self, address: str) -> str:
        """The mailbox for `address`. Raises `Refused`."""

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """Store for all recipients; a status for each, in their order. Does not raise."""
