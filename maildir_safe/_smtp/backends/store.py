"""The protocol `Store`, by which sessions store messages, and the message that they pass to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._delivery.dsn import Dsn
    from maildir_safe._delivery.status import RecipientStatus


class Recipient:
    """An accepted recipient.

    Attributes:
        address: the address as the client gave it.
        original: the address in ORCPT (RFC 3461); None if not given.
        mailbox: the path of the Maildir that the address leads to.
    """

    __slots__ = ("address", "mailbox", "original")

    def __init__(self, address: str, mailbox: str, original: str | None = None) -> None:
        self.address = address
        self.mailbox = mailbox
        self.original = original


class MailObject:
    """One message with its envelope, ready to be stored (RFC 5321 2.3.1).

    Attributes:
        sender: the envelope sender; ``""`` for bounces.
        recipients: the accepted recipients, in the order of acceptance.
        received: our Received header.
        body: the message, with LF line ends, in pieces that all copies share.
        envelope_id: ENVID (RFC 3461); None if not given.
        message_id: the Message-ID as the sender wrote it, cut to 255 characters; ``""`` if the first piece
            has none. It stays when the body is given up.
        dsn: the reports that the sender asks for; None if it did not say.
    """

    __slots__ = ("body", "dsn", "envelope_id", "message_id", "received", "recipients", "sender")

    def __init__(
        self,
        sender: str,
        recipients: list[Recipient],
        received: bytes,
        body: Sequence[bytes],
        envelope_id: str | None = None,
        dsn: Dsn | None = None,
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.received = received
        self.body = body
        self.envelope_id = envelope_id
        self.message_id = _message_id(body)
        self.dsn = dsn

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


def _message_id(body: Sequence[bytes]) -> str:
    first = body[0] if body else b""
    ends = [end for empty in (b"\n\n", b"\n\r\n") if (end := first.find(empty)) >= 0]
    header = first[: min(ends)] if ends else first
    start = (b"\n" + header.lower()).find(b"\nmessage-id:")
    if start < 0:
        return ""
    line, _, folded = header[start + len("message-id:") :].partition(b"\n")
    if not line.strip() and folded[:1] in (b" ", b"\t"):
        line = folded.partition(b"\n")[0]
    return line.strip()[:255].decode("ascii", "backslashreplace")[:255]


class Store(Protocol):
    """Takes the messages of all sessions.

    Attributes:
        test_mode: see `routing.Routing`.
        sends_reports: whether the reports that a sender asks for (`MailObject.dsn`) are sent.
        keeps_binary: whether each message stays as it is, and need never be sent by DATA (BINARYMIME).
        busy: whether file calls are running, for which a normal exit of the process would wait.
    """

    test_mode: bool
    sends_reports: bool
    keeps_binary: bool

    @property
    def busy(self) -> bool: ...

    def close(self) -> None:
        """Nothing will be stored any more: end what runs for this store."""

    async def locate(self, address: str) -> str:
        """The mailbox for `address`. Raises `Refused`."""

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """Store the message for all recipients. Returns their statuses, in their order. Does not raise."""
