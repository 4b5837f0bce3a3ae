"""Where accepted messages go: into Maildirs, one copy for each Maildir.

A message for several recipients of one Maildir is stored once, with a ``Delivered-To`` line for
each of them; so in test mode (one Maildir for all) it is one message, as it was sent.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections import OrderedDict

from maildir_safe import Maildir
from maildir_safe._delivery.content import gap
from maildir_safe._delivery.trace_headers import delivered_to
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._mailboxes import open_as_owner
from maildir_safe._smtp.protocol import replies
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe.errors import MaildirSafeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from maildir_safe._fs import FileSystem
    from maildir_safe._smtp.backends.routing import Routing
else:
    Protocol = object

OPEN_MAILDIRS = 64
"""Maildirs kept open for the next message; each holds four descriptors."""


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
    """One message with its envelope, ready to be stored.

    Attributes:
        sender: ``""`` for bounces.
        recipients: in the order in which they were accepted.
        received: our Received header.
        body: the message, lines ending in LF.
        envelope_id: ENVID (RFC 3461), if the client gave one.
    """

    __slots__ = ("body", "envelope_id", "received", "recipients", "sender")

    def __init__(
        self,
        sender: str,
        recipients: list[Recipient],
        received: bytes,
        body: bytes,
        envelope_id: str | None = None,
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.received = received
        self.body = body
        self.envelope_id = envelope_id


class RecipientStatus:
    """What became of a message for one recipient.

    Attributes:
        reply: for the client.
        stored: what it is found by, if it was stored: its file, or the id of its item in the queue.
        durability: of that file, one of `receipt.DURABILITY_LEVELS`.
        error: why not, in words for the log, which may name local paths.
    """

    __slots__ = ("durability", "error", "reply", "stored")

    def __init__(self, reply: str, stored: str = "", durability: str = "", error: str = "") -> None:
        self.reply = reply
        self.stored = stored
        self.durability = durability
        self.error = error


class Store(Protocol):
    """What a session hands its messages to.

    Attributes:
        test_mode: see `routing.Routing`.
    """

    test_mode: bool

    async def locate(self, address: str) -> str:
        """The mailbox for `address`. Raises `Refused`."""

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """Store for all recipients; a result for each, in their order. Does not raise."""


class MaildirStore:
    """Stores into Maildirs. Nothing here blocks the event loop: looking up and delivering run beside it.

    Args:
        routing: from an address to Maildirs.
        open_maildir: how a Maildir is opened, for faults in tests.
        fs: where mailboxes are looked for.
    """

    def __init__(
        self,
        routing: Routing,
        open_maildir: Callable[[str], Maildir] | None = None,
        fs: FileSystem | None = None,
    ) -> None:
        self.test_mode = routing.test_mode
        self._routing = routing
        self._open_maildir = open_maildir or open_as_owner
        self._fs = fs or OsFileSystem()
        self._open: OrderedDict[str, Maildir] = OrderedDict()

    async def locate(self, address: str) -> str:
        """See `Store.locate`: 550 5.1.1 where there is none, 451 where the storage cannot tell."""
        paths = self._routing.candidates(address)
        for path in paths:
            if path in self._open:
                return path
        return await asyncio.to_thread(self._first_existing, paths)

    def _first_existing(self, paths: list[str]) -> str:
        for path in paths:
            try:
                self._fs.close(self._fs.open_dir(path))
                return path
            except FileNotFoundError:
                if lost_mount(self._fs, path):
                    raise Refused(replies.STORAGE_FAULT) from None
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ENAMETOOLONG):
                    raise Refused(replies.STORAGE_FAULT) from None
        raise Refused(replies.NO_MAILBOX)

    async def store(self, mail: MailObject) -> list[RecipientStatus]:
        """See `Store.store`.

        With one reply for several Maildirs (SMTP), a failure after some are stored makes the
        client send to all of them again. Where it gave an ENVID, a second try with the same
        envelope and the same bytes is recognised and stored nowhere twice; without one nothing
        tells a second try from a second message, and those that had it get it again. LMTP has a
        reply for each recipient and no such gap. A Maildir++ quota is heeded where mailboxes are
        people's own: 452 4.2.2.
        """
        groups: dict[str, list[Recipient]] = {}
        for recipient in mail.recipients:
            groups.setdefault(recipient.mailbox, []).append(recipient)
        results = await asyncio.gather(*(self._deliver(path, group, mail) for path, group in groups.items()))
        by_path = dict(zip(groups, results, strict=True))
        return [by_path[recipient.mailbox] for recipient in mail.recipients]

    async def _deliver(self, path: str, group: list[Recipient], mail: MailObject) -> RecipientStatus:
        first, *others = group
        try:
            head = delivered_to(recipient.address for recipient in others) + mail.received
            maildir = await self._maildir(path)
            if not self.test_mode:
                await asyncio.to_thread(maildir.check_quota, len(mail.body))
            receipt = await maildir.deliver_async(
                head + gap(mail.body) + mail.body,
                sender=mail.sender,
                recipient=first.address,
                original_recipient=first.original,
                delivery_id=_delivery_id(mail, path),
            )
        except MaildirSafeError as error:
            return RecipientStatus(replies.for_error(error), error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client keeps the message
            return RecipientStatus(replies.INTERNAL, error=f"{type(error).__name__}: {error}")
        return RecipientStatus(f"250 2.0.0 Stored as {receipt.key}", receipt.path, receipt.durability)

    async def _maildir(self, path: str) -> Maildir:
        maildir = self._open.get(path)
        if maildir is None:
            maildir = await asyncio.to_thread(self._open_maildir, path)
            maildir = self._open.setdefault(path, maildir)
            if len(self._open) > OPEN_MAILDIRS:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return maildir


def lost_mount(fs: FileSystem, path: str) -> bool:
    """Whether the missing `path` may be missing because a file system is not mounted.

    A mount point without its mount is an empty directory: so if the nearest directory above that
    is there is empty, nobody can tell an unknown user from a lost share.
    """
    above = path
    while above != "/":
        above = above.rpartition("/")[0] or "/"
        try:
            fd = fs.open_dir(above)
        except FileNotFoundError:
            continue
        except OSError:
            return True
        try:
            return not fs.listdir(fd)
        except OSError:
            return True
        finally:
            fs.close(fd)
    return True


def _delivery_id(mail: MailObject, path: str) -> str | None:
    """An id that only another try of the same delivery has: the client's ENVID alone may be anything."""
    if mail.envelope_id is None:
        return None
    digest = hashlib.sha256(mail.body)
    for part in (mail.envelope_id, mail.sender, path):
        digest.update(b"\0" + part.encode(errors="surrogateescape"))
    return digest.hexdigest()
