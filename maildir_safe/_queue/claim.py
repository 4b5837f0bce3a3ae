"""An item in a worker's hands."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING

from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.item_file import Damaged, open_item, read_whole
from maildir_safe._queue.store.states import BOUNCE_DUE, DELIVERED, OWED, check_transitions
from maildir_safe.errors import LeaseLost, PermanentError, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

    from maildir_safe._fs import FileSystem
    from maildir_safe._maildir.maildir import Maildir
    from maildir_safe._queue.store.delivery_log import DeliveryLog, Note
    from maildir_safe._queue.store.envelope import Envelope
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.lease import Lease
    from maildir_safe._queue.store.spool import Spool

log = logging.getLogger("maildir_safe.queue")

_GOOD = OWED + DELIVERED


class Claim:
    """An item that this worker holds until it says what became of it. Thread-safe.

    `ack`, `ack_into`, `release`, `retry`, `fail` and `record_outcome` each end the claim. All of them raise:

    * `LeaseLost`: this worker was fenced (it stood still for a whole lease), and somebody else has
      the item, or will. Do nothing more about it. Also raised when the claim has already ended.
    * another `TemporaryError`: the storage does not answer. The claim is still held: call the same
      again, or `record_later`, or `let_go`.

    Attributes:
        item: what its name says: id, size, states.
    """

    __slots__ = ("_delivery_log", "_envelope", "_fs", "_lease", "_lock", "_over", "_spool", "item")

    def __init__(self, fs: FileSystem, spool: Spool, log_: DeliveryLog, lease: Lease, item: Item) -> None:
        self._fs = fs
        self._spool = spool
        self._delivery_log = log_
        self._lease = lease
        self._lock = Lock()
        self._over = False
        self._envelope: Envelope | None = None
        self.item = item

    def __del__(self) -> None:
        self.let_go()

    @property
    def attempt(self) -> int:
        """1 for the first try, and one more for each `retry`."""
        return self.item.tries + 1

    @property
    def id(self) -> str:
        """The item's id, as `Queue.put` returned it."""
        return self.item.id

    @property
    def envelope(self) -> Envelope:
        """Sender and recipients, read once.

        Raises:
            PermanentError: the file is damaged; it is in corrupt/ now.
            TemporaryError: it cannot be read.
        """
        if self._envelope is None:
            self.open().close()
        assert self._envelope is not None
        return self._envelope

    def open(self) -> BinaryIO:
        """The message, without the envelope, as a binary file.

        Reading it raises OSError if it cannot be read now: its end is never the end of anything less than
        the whole message. Raises as `envelope`.
        """
        file = self._open()
        try:
            self._envelope = envelope.read(file, self.item.states)
        except OSError as error:
            file.close()
            raise storage_error(f"read {self.id}", error) from error
        except envelope.Unreadable as reason:
            file.close()
            raise self._damaged(str(reason)) from None
        return file

    def read(self) -> bytes:
        """The message, without the envelope. Raises as `envelope`."""
        return read_whole(self.open(), lambda error: storage_error(f"read {self.id}", error))

    def notes(self) -> list[Note]:
        """What was answered in earlier tries, oldest first; see `record_outcome`."""
        return self._delivery_log.read(self.item)

    def confirm(self) -> None:
        """Return only while nobody else can have the item; costs nothing before the deadline.

        To be called before a step that cannot be undone, such as sending the message away.

        Raises:
            LeaseLost: this worker was fenced, or the claim has ended.
            UnknownOutcome: the storage does not answer.
        """
        if self._over:
            raise LeaseLost(f"{self.id}: this claim has ended")
        self._lease.confirm()

    @property
    def ended(self) -> bool:
        """Whether it was said what became of the item, it was let go, or the lease was lost."""
        return self._over

    def ack(self) -> None:
        """All who were owed the message have it. The item is removed, durably."""
        if self.item.states.strip(_GOOD):  # some recipients have failed
            self.record_outcome(self.item.states.replace(OWED, DELIVERED))
        else:
            self._end(self._remove)

    def ack_into(self, maildir: Maildir) -> None:
        """Deliver the item into a Maildir and be done with it: exactly one file, by one rename.

        Where spool and Maildir are not on one file system, or a worker that runs as root delivers to
        another user, the message is copied and then removed here, which a crash in between makes a
        second copy of.

        Raises:
            PermanentError: the file is damaged; it is in corrupt/ now.
        """
        after = self.item.states.replace(OWED, DELIVERED)
        if set(after) == {DELIVERED} and self._end(self._into, maildir):
            return
        file = self._open()
        try:
            maildir.deliver_as(file, self.item.maildir_name)
        finally:
            file.close()
        self.record_outcome(after)

    def release(self, delay: float = 0.0) -> None:
        """Give the item back as it was, to be claimed again after `delay` seconds; this is no try."""
        item = self.item
        after = item.returned(not_before=self._after(delay) if delay > 0 else None)
        self._end(self._spool.give_back, self._lease, item, after)

    def retry(self, delay: float) -> None:
        """Give the item back, to be tried again after `delay` seconds."""
        self.record_outcome(self.item.states, delay)

    def fail(self, reason: str) -> None:
        """Give up: the item goes to failed/, with `reason` in its notes. Nobody tells the sender."""
        self._delivery_log.write(self.item, {"at": self._now(), "text": reason}, durable=True)
        after = self.item.returned(self.item.states.replace(OWED, BOUNCE_DUE))
        self._end(self._spool.shelve, self._lease, self.item, after, "failed")

    def record_outcome(
        self, states: str, delay: float | None = None, note: dict[str, Any] | None = None
    ) -> None:
        """Say what became of each recipient; where the item goes follows from that.

        All have it: it is removed. Somebody is owed it, or a failure is to be told: back to
        pending/. Neither: to failed/.

        Args:
            states: a letter for each recipient (`maildir_safe._queue.store.states`).
            delay: seconds before those who are still owed it are tried again, and this counts as
                a try; None: when they would have been, and it does not.
            note: what was answered; kept before the item moves, durably when a recipient failed.

        Raises:
            ValueError: the table of states has no such change.
        """
        item = self.item
        check_transitions(item.states, states)
        if note is not None:
            newly_failed = states.count(BOUNCE_DUE) > item.states.count(BOUNCE_DUE)
            self._delivery_log.write(item, {"at": self._now(), **note}, durable=newly_failed)
        if set(states) == {DELIVERED}:
            self._end(self._remove)
        elif OWED in states or BOUNCE_DUE in states:
            when = item.not_before if delay is None else self._after(delay)
            after = item.returned(states, when, tried=delay is not None)
            self._end(self._spool.give_back, self._lease, item, after)
        else:
            self._end(self._spool.shelve, self._lease, item, item.returned(states), "failed")

    def record_later(
        self, states: str, delay: float | None = None, note: dict[str, Any] | None = None
    ) -> None:
        """`record_outcome` for when the storage does not answer: the queue repeats it until it does.

        The claim is held until then, so that what was sent is not sent again; only the end of this process
        or the loss of the lease can still make the item come back as it was. Raises nothing.
        """
        if not self._over:
            self._lease.pending_outcomes[self.item.name] = lambda: self.record_outcome(states, delay, note)

    def let_go(self) -> None:
        """Hold the item no longer: the next renewal of the lease gives it back, as it was.

        For a caller that cannot say what became of it. After the claim has ended, and after `record_later`,
        this does nothing.
        """
        if not self._over and self.item.name not in self._lease.pending_outcomes:
            self._over = True
            self._lease.held.discard(self.item.name)

    def _ack_later(self) -> None:
        """`ack` without the fsync, which is owed: `Lease.fsync_removals`."""
        item = self.item
        if item.states.strip(_GOOD):
            self.ack()
        else:
            with self._lock:
                self._not_over()
                try:
                    self._spool.ack(self._lease, item)
                except LeaseLost as lost:
                    self._lost(lost)
                    raise
                self._over = True
            self._delivery_log.finish(item)

    def _remove(self) -> None:
        self._spool.ack(self._lease, self.item)
        self._delivery_log.finish(self.item)
        self._lease.fsync_removals(self.id)

    def _into(self, maildir: Maildir) -> bool:
        if not maildir.takes_renames:
            return False
        try:
            delivered = self._spool.deliver(self._lease, self.item, maildir.directories())
        except Damaged as reason:
            raise self._to_corrupt(str(reason)) from None
        if delivered:
            self._delivery_log.finish(self.item)
        return delivered

    def _damaged(self, reason: str) -> PermanentError:
        with self._lock:
            self._not_over()
            return self._to_corrupt(reason)

    def _to_corrupt(self, reason: str) -> PermanentError:
        """Put the item away, and say so."""
        self._delivery_log.write(self.item, {"at": self._now(), "text": f"damaged: {reason}"}, durable=False)
        try:
            self._spool.shelve(self._lease, self.item, self.item.returned(), "corrupt")
        except LeaseLost as lost:
            self._lost(lost)
            raise
        self._over = True
        return PermanentError(f"{self.id} is damaged ({reason}); it is in corrupt/")

    def _end(self, act: Callable[..., Any], *args: Any) -> Any:
        """Do what ends this claim, unless it has ended: one of several threads wins."""
        with self._lock:
            self._not_over()
            try:
                self._lease.confirm()  # the path decides; but a worker that stood still need not look far
                result = act(*args)
            except LeaseLost as lost:
                self._lost(lost)
                raise
            self._over = result is not False
            return result

    def _not_over(self) -> None:
        if self._over:
            raise LeaseLost(f"{self.id}: this claim has ended")

    def _lost(self, lost: LeaseLost) -> None:
        self._over = True
        log.warning("LeaseLost: %s: %s", self.id, lost)

    def _open(self) -> BinaryIO:
        try:
            return open_item(self._fs, self.item, self._lease.dir_fd)
        except Damaged as reason:
            raise self._damaged(str(reason)) from None
        except OSError as error:
            self._lease.renew()  # gone because this worker was fenced?
            raise storage_error(f"open {self.id}", error) from error

    def _after(self, delay: float) -> int:
        return int(self._now() + delay) if delay > 0 else 0

    def _now(self) -> float:
        return self._fs.time_ns() / 1e9
