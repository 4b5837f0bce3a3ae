"""A courier into Maildirs: one rename if the item has one recipient, else one copy per recipient."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._fs.mounts import mount_points
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._mailboxes import Mailboxes, open_as_owner
from maildir_safe.errors import LeaseLost, MaildirSafeError, NotAMaildir, PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.maildir import Maildir
    from maildir_safe._queue.couriers.courier import DeliveryRequest

_MOUNTS_KNOWN_FOR = 10.0  # seconds


class MaildirCourier:
    """Delivers into existing Maildirs; never creates one.

    A missing mailbox is a temporary failure: it existed when the message was accepted, and an unmounted
    share looks the same.

    Args:
        locate: returns the possible paths of an address, best first; raises `PermanentError` if there can
            be none. For example the `candidates` of `maildir_safe._smtp.backends.routing.MailboxMap`.
        open_maildir: opens the Maildir at a path; tests pass their own.
        fs: the file system in which mailboxes are looked up.
        staging: where messages that must be copied are written first, as for `Maildir`; not used if
            `open_maildir` is given.
    """

    def __init__(
        self,
        locate: Callable[[str], Sequence[str]],
        open_maildir: Callable[[str], Maildir] | None = None,
        fs: FileSystem | None = None,
        staging: str | None = None,
    ) -> None:
        self._locate = locate
        self._fs = fs or OsFileSystem()
        opened = open_maildir or partial(open_as_owner, staging=staging)
        self._mailboxes = Mailboxes(locate, opened, fs=self._fs)
        self._mounts: list[str] = []
        self._mounts_read: float | None = None

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """See `maildir_safe._queue.couriers.courier.Courier`."""
        return {recipient: self._deliver(request, recipient) for recipient in request.recipients}

    def deliver_file(self, recipient: str, move: Callable[[Maildir], object]) -> RecipientStatus:
        """See `maildir_safe._queue.couriers.courier.DeliversFiles`."""
        try:
            maildir = self._mailboxes.maildir_for(recipient)
            try:
                move(maildir)
            except LeaseLost:
                raise
            except MaildirSafeError as error:
                if isinstance(error, NotAMaildir):
                    self._mailboxes.forget(maildir.path)
                if not self._mailboxes.evict_if_out_of_descriptors(error):
                    raise
                move(maildir)  # once more, now that descriptors are free
        except LeaseLost:
            raise
        except PermanentError as error:
            return RecipientStatus(550, f"{error.status} it cannot be delivered here", str(error))
        except MaildirSafeError as error:
            return RecipientStatus(451, f"{error.status} the mailbox takes no mail now", str(error))
        return RecipientStatus(250, "2.0.0 delivered", stored=maildir.path)

    def destination(self, recipient: str) -> str:
        """The mount of the recipient's mailbox, derived from the path alone, since mounts may hang."""
        try:
            paths = self._locate(recipient)
        except PermanentError:
            return ""
        inside = (
            [mount for mount in self._mount_points() if f"{paths[0]}/".startswith(mount)] if paths else []
        )
        return max(inside, key=len, default="")

    def _deliver(self, request: DeliveryRequest, recipient: str) -> RecipientStatus:
        """Deliver a copy, with an id by which a retry after a crash finds the earlier copy."""

        def copy(maildir: Maildir) -> None:
            with request.open() as file:
                request.confirm()
                maildir.deliver(
                    file, sender=request.sender, recipient=recipient, delivery_id=f"{request.id} {recipient}"
                )

        return self.deliver_file(recipient, copy)

    def _mount_points(self) -> list[str]:
        """The mount points of this host, each with a trailing slash."""
        now = self._fs.monotonic()
        if self._mounts_read is None or now - self._mounts_read > _MOUNTS_KNOWN_FOR:
            self._mounts, self._mounts_read = [f"{point.rstrip('/')}/" for point in mount_points()], now
        return self._mounts
