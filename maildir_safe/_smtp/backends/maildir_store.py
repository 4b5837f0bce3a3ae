"""Stores accepted messages in Maildirs, one copy per Maildir.

A message for several recipients with the same Maildir is stored once, with one ``Delivered-To``
line per recipient. So in test mode, with one Maildir for all, it stays one message.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from maildir_safe._delivery.content import chunks, gap
from maildir_safe._delivery.receipt import Receipt
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._delivery.trace_headers import delivered_to, trace_headers
from maildir_safe._fs.mounts import mount_points
from maildir_safe._mailboxes import NoSuchMailbox
from maildir_safe._smtp.backends.delivery_ids import delivery_ids
from maildir_safe._smtp.backends.lanes import Lanes
from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe.errors import MaildirSafeError, TemporaryError

if TYPE_CHECKING:
    from maildir_safe._mailboxes import Mailboxes
    from maildir_safe._smtp.backends.committer import Committer, Committers
    from maildir_safe._smtp.backends.lanes import Lane
    from maildir_safe._smtp.backends.routing import Routing
    from maildir_safe._smtp.backends.store import MailObject, Recipient


class MaildirStore:
    """Stores messages in Maildirs. Look-ups and deliveries run in threads and do not block the event loop.

    Args:
        routing: maps an address to Maildirs.
        mailboxes: finds and opens Maildirs, by the same routing.
        deliveries: most deliveries at a time; each needs file descriptors.
        repeats: recognise a message that is sent again without ENVID, see `delivery_ids`.
        committers: processes that store in place of the threads when many send at once; None: none.
    """

    sends_reports = False
    keeps_binary = True

    def __init__(
        self,
        routing: Routing,
        mailboxes: Mailboxes,
        deliveries: int = 100,
        *,
        repeats: bool = False,
        committers: Committers | None = None,
    ) -> None:
        self.test_mode = routing.test_mode
        self._routing = routing
        self._mailboxes = mailboxes
        self._lanes = Lanes(mount_points, max(1, deliveries // 2))  # half stays free if one lane hangs
        self._repeats = repeats
        self._committers = committers
        self._places = asyncio.Semaphore(deliveries)
        self._under_way: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """See `Store.busy`."""
        return self._lanes.busy

    def close(self) -> None:
        """See `Store.close`."""
        if self._committers:
            self._committers.close()

    async def locate(self, address: str) -> str:
        """See `Store.locate`: 550 5.1.1 if the mailbox certainly does not exist, 450 or 451 if in doubt."""
        paths = self._routing.candidates(address)
        known = self._mailboxes.known(address)
        if known is not None:
            return known
        try:
            return await self._lanes.of(paths[0]).run(self._mailboxes.find, address)
        except NoSuchMailbox:
            raise Refused(replies.NO_MAILBOX) from None
        except MaildirSafeError as error:
            raise Refused(replies.MAILBOX_UNCERTAIN) from error

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """See `Store.store`.

        SMTP has one reply for several Maildirs: if some deliveries fail after others are stored, the
        client sends to all recipients again. If it gave an ENVID, a retry with the same envelope and
        the same bytes is recognised, and no Maildir gets a second copy. Without an ENVID a retry
        cannot be told from a new message, and the Maildirs that have the message get it again. LMTP
        has one reply per recipient and no such gap. Outside test mode a Maildir++ quota is enforced:
        452 4.2.2.
        """
        groups: dict[str, list[Recipient]] = {}
        for recipient in mail.recipients:
            groups.setdefault(recipient.mailbox, []).append(recipient)
        ids = await delivery_ids(mail, groups, self._repeats)
        deliveries = [self._deliver(path, group, mail, ids[path]) for path, group in groups.items()]
        if len(deliveries) == 1:  # nearly always; a task of its own costs as much as writing the file
            return [await deliveries[0]] * len(mail.recipients)
        results = await asyncio.gather(*deliveries)
        by_path = dict(zip(groups, results, strict=True))
        return [by_path[recipient.mailbox] for recipient in mail.recipients]

    async def _deliver(
        self, path: str, group: list[Recipient], mail: MailObject, delivery_id: str | None
    ) -> RecipientStatus:
        try:
            lane = self._lanes.of(path)
            place = await lane.acquire()
            self._under_way[path] += 1
            try:
                async with self._places:
                    receipt = await self._deliver_in(lane, path, group, mail, delivery_id)
            finally:
                self._under_way[path] -= 1
                if not self._under_way[path]:
                    del self._under_way[path]
                lane.release(place)
        except Refused as refused:
            hangs = f"{path}: the file system has hung for some time"
            return RecipientStatus.from_reply(refused.reply, error=hangs)
        except MaildirSafeError as error:
            return RecipientStatus.from_reply(replies.for_error(error), error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client keeps the message
            return RecipientStatus.from_reply(replies.INTERNAL, error=f"{type(error).__name__}: {error}")
        text = f"2.0.0 Stored as {receipt.key}"
        return RecipientStatus(250, text, stored=receipt.path, durability=receipt.durability)

    async def _deliver_in(
        self, lane: Lane, path: str, group: list[Recipient], mail: MailObject, delivery_id: str | None
    ) -> Receipt:
        try:
            return await self._deliver_once(lane, path, group, mail, delivery_id)
        except TemporaryError as error:
            if not self._mailboxes.evict_if_out_of_descriptors(error):  # too many files open
                raise
        return await self._deliver_once(lane, path, group, mail, delivery_id)

    async def _deliver_once(
        self, lane: Lane, path: str, group: list[Recipient], mail: MailObject, delivery_id: str | None
    ) -> Receipt:
        first, *others = group
        headers = delivered_to(recipient.address for recipient in others) + mail.received
        maildir = self._mailboxes.opened(path)
        if maildir is None:
            maildir = await lane.run(self._mailboxes.open, path)
        message = (headers + gap(*mail.body), *mail.body)
        if delivery_id is None and self._committers:
            committer = self._committers.of_lane(lane, path, self._under_way[path])
            receipt = committer and await self._by_process(committer, maildir.path, message, first, mail)
            if receipt:
                return receipt
        if not self.test_mode:
            await lane.run(maildir.check_quota, mail.size)
        recognised = {} if delivery_id is None else {"delivery_id": delivery_id}
        return await maildir.deliver_async(
            message,
            sender=mail.sender,
            recipient=first.address,
            original_recipient=first.original,
            executor=lane.executor,
            **recognised,
        )

    async def _by_process(
        self, committer: Committer, path: str, message: tuple[bytes, ...], first: Recipient, mail: MailObject
    ) -> Receipt | None:
        """Let the committer store a message; None if it did not."""
        head = trace_headers(mail.sender, first.address, first.original)
        size = mail.size
        quota = -1 if self.test_mode else size
        told = await committer.store(size, path, chunks(message, head), quota)
        if told is None:
            return None
        key, durability, size, renames = told
        return Receipt(f"{path}/new/{key}", key, durability, size, renames)
