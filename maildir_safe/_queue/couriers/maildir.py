"""A courier into Maildirs: one rename where the item has one recipient, else a copy for each."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from maildir_safe._mailboxes import open_as_owner
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._queue.claim import close_reader
from maildir_safe._queue.couriers.courier import RecipientStatus
from maildir_safe.errors import LeaseLost, MaildirSafeError, NotAMaildir, PermanentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._queue.couriers.courier import DeliveryRequest

_KEPT_OPEN = 64


class MaildirCourier:
    """Delivers into Maildirs that exist; none is ever made.

    A mailbox that is not there is a temporary failure: a share that is not mounted looks the same.

    Args:
        locate: the paths that an address may mean, best first; a `PermanentError` if there can be
            none. For example the `candidates` of `maildir_safe._smtp.backends.routing.MailboxMap`.
        open_maildir: how a Maildir is opened; tests have other ways.
    """

    def __init__(
        self,
        locate: Callable[[str], list[str]],
        open_maildir: Callable[[str], Maildir] = open_as_owner,
    ) -> None:
        self._locate = locate
        self._open_maildir = open_maildir
        self._lock = Lock()
        self._open: OrderedDict[str, Maildir] = OrderedDict()

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """See `maildir_safe._queue.couriers.courier.Courier`."""
        return {recipient: self._answer(request, recipient) for recipient in request.recipients}

    def _answer(self, request: DeliveryRequest, recipient: str) -> RecipientStatus:
        try:
            maildir = self._maildir(recipient)
            claim = request.claim
            if claim is not None and len(claim.item.states) == 1:
                claim.ack_into(maildir)
            else:
                self._copy(request, recipient, maildir)
        except LeaseLost:
            raise
        except PermanentError as error:
            return RecipientStatus(550, f"{error.status} {error}")
        except MaildirSafeError as error:
            return RecipientStatus(451, f"{error.status} {error}")
        return RecipientStatus(250, f"2.0.0 delivered into {maildir.path}")

    def _copy(self, request: DeliveryRequest, recipient: str, maildir: Maildir) -> None:
        """With an id, so that a try after a crash finds the copy of the one before."""
        file = request.open()
        try:
            request.confirm()
            maildir.deliver(
                file, sender=request.sender, recipient=recipient, delivery_id=f"{request.id} {recipient}"
            )
        finally:
            close_reader(file)

    def _maildir(self, recipient: str) -> Maildir:
        paths = self._locate(recipient)
        failure: NotAMaildir | None = None
        for path in paths:
            with self._lock:
                found = self._open.get(path)
            try:
                maildir = found or self._open_maildir(path)
            except NotAMaildir as error:
                failure = failure or error
                continue
            with self._lock:
                self._open[path] = maildir
                self._open.move_to_end(path)
                if len(self._open) > _KEPT_OPEN:
                    self._open.popitem(last=False)
            return maildir
        raise failure or PermanentError(f"no mailbox for {recipient}")
