"""Where accepted messages go with `serve --queue`: into a spool, from which workers take them.

The 250 is given once the item is durable in the spool. Recipients become an item for each domain, or
one for each of them where they are mailboxes here (`--map`): then a worker delivers by one rename.
"""

from __future__ import annotations

import asyncio

from maildir_safe._delivery.content import gap
from maildir_safe._queue.store.envelope import groups
from maildir_safe._smtp.backends.maildir_store import RecipientStatus
from maildir_safe._smtp.protocol import replies
from maildir_safe.errors import MaildirSafeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe._queue.queue import Queue
    from maildir_safe._smtp.backends.maildir_store import MailObject, Store

MAX_HOPS = 100
"""Servers that a message may have been through: who relays must end loops (RFC 5321 6.3)."""


class QueueStore:
    """Puts messages into a queue. Nothing here blocks the event loop.

    Args:
        queue: the spool.
        mailboxes: knows which addresses are mailboxes here; None: every address is taken.
    """

    test_mode = False

    def __init__(self, queue: Queue, mailboxes: Store | None) -> None:
        self._queue = queue
        self._mailboxes = mailboxes

    async def locate(self, address: str) -> str:
        """See `Store.locate`."""
        return await self._mailboxes.locate(address) if self._mailboxes else self._queue.path

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """See `Store.store`. A client that sends again because some items failed sends the others twice."""
        addresses = [recipient.address for recipient in mail.recipients]
        if hops(mail.body) >= MAX_HOPS:
            return [RecipientStatus(replies.LOOP)] * len(addresses)
        items = groups(list(dict.fromkeys(addresses)), each=self._mailboxes is not None)
        message = mail.received + gap(mail.body) + mail.body
        puts = (self._queue.put_async(message, mail.sender, item) for item in items)
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        results = {
            address: self._result(outcome)
            for item, outcome in zip(items, outcomes, strict=True)
            for address in item
        }
        return [results[address] for address in addresses]

    def _result(self, outcome: str | BaseException) -> RecipientStatus:
        if isinstance(outcome, str):
            return RecipientStatus(f"250 2.0.0 Queued as {outcome}", outcome)
        if isinstance(outcome, MaildirSafeError):
            return RecipientStatus(replies.for_error(outcome), error=str(outcome))
        return RecipientStatus(replies.INTERNAL, error=f"{type(outcome).__name__}: {outcome}")


def hops(body: bytes) -> int:
    """How many servers have put a Received header on top of a message, whose lines end in LF."""
    header = b"\n" + body.partition(b"\n\n")[0]
    return header.lower().count(b"\nreceived:")
