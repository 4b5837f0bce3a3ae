"""Where accepted messages go with `serve --queue`: into a spool, from which workers take them.

The 250 is given once the item is durable in the spool. Recipients become an item for each domain, or
one for each of them where they are mailboxes here (`--map`): then a worker delivers by one rename.
"""

from __future__ import annotations

import asyncio

from maildir_safe.errors import MaildirSafeError
from maildir_safe.maildir.receipt import Receipt
from maildir_safe.queue import PartialPut
from maildir_safe.queue.envelope import groups
from maildir_safe.smtp import replies
from maildir_safe.smtp.store import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe.queue import Queue
    from maildir_safe.smtp.store import Delivery, Store


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
        return await self._mailboxes.locate(address) if self._mailboxes else address

    async def store(self, delivery: Delivery) -> list[Result]:
        """See `Store.store`. A client that sends again because some items failed sends the others twice."""
        addresses = [recipient.address for recipient in delivery.recipients]
        items = groups(addresses, each=self._mailboxes is not None)
        results = await asyncio.to_thread(self._put, delivery, items)
        by_address = {
            address: result for item, result in zip(items, results, strict=True) for address in item
        }
        return [by_address[address] for address in addresses]

    def _put(self, delivery: Delivery, items: list[list[str]]) -> list[Result]:
        message = delivery.received + delivery.body
        outcomes: list[str | BaseException]
        try:
            outcomes = [*self._queue.put_many([(message, delivery.sender, item) for item in items])]
        except PartialPut as partial:
            outcomes = partial.results
        except Exception as error:  # noqa: BLE001 - whatever it is, the client keeps the message
            outcomes = [error] * len(items)
        return [self._result(outcome, len(message)) for outcome in outcomes]

    def _result(self, outcome: str | BaseException, size: int) -> Result:
        if isinstance(outcome, str):
            receipt = Receipt(f"{self._queue.path}/{outcome}", outcome, self._queue.durability, size)
            return Result(f"250 2.0.0 Queued as {outcome}", receipt)
        if isinstance(outcome, MaildirSafeError):
            return Result(replies.for_error(outcome), error=str(outcome))
        return Result(replies.INTERNAL, error=f"{type(outcome).__name__}: {outcome}")
