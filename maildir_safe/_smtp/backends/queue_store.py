"""Stores accepted messages in a spool, from which workers take them (`serve --queue`).

The 250 is sent once the item is durable in the spool. There is one item per domain of the
recipients, or with `--map` one per recipient: then a worker delivers an item by one rename.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maildir_safe._delivery.content import gap
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.store.envelope import groups
from maildir_safe._smtp.backends.delivery_ids import delivery_ids
from maildir_safe._smtp.protocol import replies
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._queue.queue import Queue
    from maildir_safe._smtp.backends.committer import Committers
    from maildir_safe._smtp.backends.store import MailObject, Store

MAX_HOPS = 100
"""Received headers at which a message is refused: a relay must detect mail loops (RFC 5321 6.3)."""


class QueueStore:
    """Puts messages into a queue, without blocking the event loop.

    Args:
        queue: the spool.
        mailboxes: knows which addresses are mailboxes here; None: every address is accepted.
        repeats: recognise a message that is sent again without ENVID, see `delivery_ids`.
        committers: processes that put in place of threads when many send at once; None: none.
    """

    test_mode = False
    sends_reports = True
    keeps_binary = False  # a worker may have to send it by DATA

    def __init__(
        self,
        queue: Queue,
        mailboxes: Store | None,
        *,
        repeats: bool = False,
        committers: Committers | None = None,
    ) -> None:
        self._queue = queue
        self._repeats = repeats
        self._mailboxes = mailboxes
        self._committers = committers
        self._under_way = 0

    @property
    def busy(self) -> bool:
        """See `Store.busy`."""
        return self._mailboxes is not None and self._mailboxes.busy

    def close(self) -> None:
        """See `Store.close`."""
        if self._mailboxes is not None:
            self._mailboxes.close()
        if self._committers is not None:
            self._committers.close()

    async def locate(self, address: str) -> str:
        """See `Store.locate`."""
        return await self._mailboxes.locate(address) if self._mailboxes else self._queue.path

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """See `Store.store`.

        If some items fail, the client sends again, and the other items are put twice, unless the client
        gave an ENVID: then a retry with the same envelope and the same bytes is recognised.
        """
        addresses = [recipient.address for recipient in mail.recipients]
        if hops(mail.body) >= MAX_HOPS:
            return [RecipientStatus.from_reply(replies.LOOP)] * len(addresses)
        items = groups(list(dict.fromkeys(addresses)), each=self._mailboxes is not None)
        message = (mail.received + gap(*mail.body), *mail.body)
        ids = await delivery_ids(mail, map(" ".join, items), self._repeats)
        puts = [self._put(message, mail, item, ids[" ".join(item)]) for item in items]
        if len(puts) == 1:  # nearly always; a task of its own costs as much as writing the file
            outcomes = [await puts[0]]
        else:
            outcomes = await asyncio.gather(*puts)
        results = {
            address: self._result(outcome)
            for item, outcome in zip(items, outcomes, strict=True)
            for address in item
        }
        return [results[address] for address in addresses]

    async def _put(
        self, message: tuple[bytes, ...], mail: MailObject, item: Sequence[str], delivery_id: str | None
    ) -> str | Exception:
        """Put one item; return its id, or the error."""
        self._under_way += 1
        try:
            if delivery_id is None and mail.dsn is None and self._committers is not None:
                committer = self._committers.of_queue(self._queue.path, self._under_way)
                told = committer and await committer.store(mail.size, message, mail.sender, [*item])
                if told:
                    return str(told[0])
            return await self._queue.put_async(
                message, mail.sender, item, delivery_id=delivery_id, dsn=mail.dsn
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the client keeps the message
            return error
        finally:
            self._under_way -= 1

    def _result(self, outcome: str | Exception) -> RecipientStatus:
        if isinstance(outcome, str):
            return RecipientStatus(250, f"2.0.0 Queued as {outcome}", stored=outcome)
        if isinstance(outcome, MaildirSafeError):
            return RecipientStatus.from_reply(replies.for_error(outcome), error=str(outcome))
        return RecipientStatus.from_reply(replies.INTERNAL, error=f"{type(outcome).__name__}: {outcome}")


def hops(body: Sequence[bytes]) -> int:
    """Count the Received headers of a message whose lines end in LF.

    Only the first piece (64 KiB) is read; a loop with larger headers is not detected here.
    """
    header = b"\n" + (body[0] if body else b"").partition(b"\n\n")[0]
    return header.lower().count(b"\nreceived:")
