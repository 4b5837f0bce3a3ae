"""An item that a worker has claimed."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING

from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.item_file import Damaged, open_item, read_whole
from maildir_safe._queue.store.states import BOUNCE_DUE, DELIVERED, OWED, check_transitions, has_report_due
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
    """An item that this worker holds until it records the outcome. Thread-safe.

    `ack`, `ack_into`, `release`, `retry`, `fail` and `record_outcome` each end the claim. All of them raise:

    * `LeaseLost`: this worker was fenced because it stalled for a whole lease. Another worker has the item,
      or will have it. Do nothing more with it. Also raised if the claim has already ended.
    * another `TemporaryError`: the storage does not answer. The claim is still held: call the same
      method again, or `record_later`, or `let_go`.

    Attributes:
        item: the item as its name describes it: id, size, states.
    """

    __slots__ = ("_bucket", "_delivery_log", "_envelope", "_fs", "_lease", "_lock", "_over", "_spool", "item")

    def __init__(
        self, fs: FileSystem, spool: Spool, log_: DeliveryLog, lease: Lease, bucket: str, item: Item
    ) -> None:
        self._fs = fs
        self._spool = spool
        self._delivery_log = log_
        self._lease = lease
        self._bucket = bucket
        self._lock = Lock()
        self._over = False
        self._envelope: Envelope | None = None
        self.item = item

    def __del__(self) -> None:
        if not self._over:
            self.let_go()

    @property
    def attempt(self) -> int:
        """The number of this attempt: 1 for the first, and one more after each `retry`."""
        return self.item.tries + 1

    @property
    def id(self) -> str:
        """The item's id, as `Queue.put` returned it."""
        return self.item.id

    @property
    def envelope(self) -> Envelope:
        """Sender and recipients, read once.

        Raises:
            PermanentError: the file is damaged, and has been moved to corrupt/.
            TemporaryError: the file cannot be read.
        """
        if self._envelope is None:
            self.open().close()
        assert self._envelope is not None
        return self._envelope

    def open(self) -> BinaryIO:
        """The message, without the envelope, as a binary file.

        Reading raises OSError if the message cannot be read now. The end of the file is always the end of the
        whole message. Raises as `envelope`.
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
        """The notes of earlier attempts, oldest first; see `record_outcome`."""
        return self._delivery_log.read(self.item)

    def confirm(self) -> None:
        """Return only while no other worker can have the item. Costs nothing before the lease's deadline.

        Call it before a step that cannot be undone, such as sending the message.

        Raises:
            LeaseLost: this worker was fenced, or the claim has ended.
            UnknownOutcome: the storage does not answer.
        """
        if self._over:
            raise self._ended_before()
        self._lease.confirm()

    @property
    def ended(self) -> bool:
        """Whether the claim is over: its outcome was recorded, it was let go, or the lease was lost."""
        return self._over

    def ack(self) -> None:
        """Record that all recipients have the message. The item is removed, durably."""
        if self.item.states.strip(_GOOD):  # some recipients have failed
            self.record_outcome(self.item.states.replace(OWED, DELIVERED))
        else:
            self._end(self._remove)

    def ack_into(self, maildir: Maildir) -> None:
        """Deliver the item into a Maildir and end the claim: exactly one file, by one rename.

        If spool and Maildir are on different file systems, or root works for the owners of both and they
        differ, the message is copied, and then removed here. A crash in between can leave a second copy.

        Raises:
            PermanentError: the file is damaged, and has been moved to corrupt/.
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
        """Return the item as it was, to be claimed again after `delay` seconds. This is not an attempt."""
        item = self.item
        after = item.returned(not_before=self._after(delay) if delay > 0 else None)
        self._end(self._spool.give_back, self._lease, item, after)

    def move_on(self) -> None:
        """`release` for an item that nobody has opened, and that is not due: its second names are removed.

        Raises:
            OSError, TemporaryError: the item is still claimed.
        """
        try:
            linked = self._fs.stat(self.item.name, self._lease.dir_fd).st_nlink > 1
        except FileNotFoundError:
            linked = False  # the rename finds out where the item is
        if linked:
            self._keep_one_name()
        self.release()

    def retry(self, delay: float) -> None:
        """Return the item, to be retried after `delay` seconds."""
        self.record_outcome(self.item.states, delay)

    def fail(self, reason: str) -> None:
        """Give up: the item goes to failed/, with `reason` in its notes. No bounce is sent."""
        self._delivery_log.write(self.item, {"at": self._now(), "text": reason}, durable=True)
        after = self.item.returned(self.item.states.replace(OWED, BOUNCE_DUE))
        self._end(self._spool.shelve, self._lease, self.item, after, "failed")

    def record_outcome(
        self, states: str, delay: float | None = None, note: dict[str, Any] | None = None
    ) -> None:
        """Record the state of each recipient, which decides where the item goes.

        If all recipients have the message, the item is removed. If a recipient is still owed it, or a
        report is due, the item returns to pending/. Otherwise it goes to failed/.

        Args:
            states: one letter per recipient (`maildir_safe._queue.store.states`).
            delay: seconds until the recipients who are still owed it are retried; the call counts as an
                attempt. None: the time of the next attempt stays as it was, and the call does not count.
            note: the courier's statuses; kept before the item moves, durably if a recipient failed.

        Raises:
            ValueError: the table of states does not allow the change.
        """
        item = self.item
        check_transitions(item.states, states)
        if note is not None:
            newly_failed = states.count(BOUNCE_DUE) > item.states.count(BOUNCE_DUE)
            self._delivery_log.write(item, {"at": self._now(), **note}, durable=newly_failed)
        if set(states) == {DELIVERED}:
            self._end(self._remove)
        elif OWED in states or has_report_due(states):
            when = item.not_before if delay is None else self._after(delay)
            after = item.returned(states, when, tried=delay is not None)
            self._end(self._spool.give_back, self._lease, item, after)
        else:
            self._end(self._spool.shelve, self._lease, item, item.returned(states), "failed")

    def record_later(
        self, states: str, delay: float | None = None, note: dict[str, Any] | None = None
    ) -> None:
        """Let the queue repeat `record_outcome` until the storage answers.

        The claim is held until then, so that the message is not sent again. Only the end of this process or
        the loss of the lease can still return the item as it was. Raises nothing.
        """
        if not self._over:
            self._lease.pending_outcomes[self.item.name] = lambda: self.record_outcome(states, delay, note)

    def let_go(self) -> None:
        """Abandon the claim: the next renewal of the lease returns the item as it was.

        For a caller that does not know the outcome. Does nothing after the claim has ended, or after
        `record_later`.
        """
        if not self._over and self.item.name not in self._lease.pending_outcomes:
            self._over = True
            self._lease.held.discard(self.item.name)

    def _ack_later(self) -> None:
        """`ack` without its fsync; the caller must call `Lease.fsync_removals`."""
        item = self.item
        if item.states.strip(_GOOD):
            self.ack()
        else:
            with self._lock:
                if self._over:
                    raise self._ended_before()
                self._delivery_log.before_removal(item, self._lease.sync)
                try:
                    self._spool.ack(self._lease, item)
                except LeaseLost as lost:
                    self._lost(lost)
                    raise
                self._over = True
            if item.gen:
                self._delivery_log.remove(item)

    def _remove(self) -> None:
        item = self.item
        self._delivery_log.before_removal(item, self._lease.sync)
        self._spool.ack(self._lease, item)
        if item.gen:
            self._delivery_log.remove(item)
        self._lease.fsync_removals(item.id)

    def _into(self, maildir: Maildir) -> bool:
        if not maildir.takes_renames_by(self._fs):
            return False
        self._delivery_log.before_removal(self.item, self._lease.sync)
        try:
            delivered = self._spool.deliver(self._lease, self.item, maildir.directories())
        except Damaged as reason:
            raise self._to_corrupt(str(reason)) from None
        if delivered and self.item.gen:
            self._delivery_log.remove(self.item)
        return delivered

    def _damaged(self, reason: str) -> PermanentError:
        with self._lock:
            if self._over:
                raise self._ended_before()
            return self._to_corrupt(reason)

    def _to_corrupt(self, reason: str) -> PermanentError:
        """Move the item to corrupt/, and return the error to raise."""
        self._delivery_log.write(self.item, {"at": self._now(), "text": f"damaged: {reason}"}, durable=False)
        try:
            self._spool.shelve(self._lease, self.item, self.item.returned(), "corrupt")
        except LeaseLost as lost:
            self._lost(lost)
            raise
        self._over = True
        return PermanentError(f"{self.id} is damaged ({reason}); it is in corrupt/")

    def _end(self, act: Callable[..., Any], *args: Any) -> Any:
        """Run the act that ends this claim, unless it has ended already: one of several threads wins."""
        with self._lock:
            if self._over:
                raise self._ended_before()
            try:
                self._lease.confirm()  # the rename decides, but a stalled worker can find out sooner
                result = act(*args)
            except LeaseLost as lost:
                self._lost(lost)
                raise
            self._over = result is not False
            return result

    def _ended_before(self) -> LeaseLost:
        return LeaseLost(f"{self.id}: this claim has ended")

    def _lost(self, lost: LeaseLost) -> None:
        self._over = True
        log.warning("LeaseLost: %s: %s", self.id, lost)

    def _open(self) -> BinaryIO:
        try:
            return open_item(self._fs, self.item, self._lease.dir_fd, self._keep_one_name)
        except Damaged as reason:
            raise self._damaged(str(reason)) from None
        except OSError as error:
            self._lease.renew()  # raises LeaseLost if the item is gone because this worker was fenced
            raise storage_error(f"open {self.id}", error) from error

    def _keep_one_name(self) -> None:
        try:
            self._spool.keep_one_name(self._lease, self.item, self._bucket)
        except LeaseLost as lost:
            self._lost(lost)
            raise

    def _after(self, delay: float) -> int:
        return int(self._now() + delay) if delay > 0 else 0

    def _now(self) -> float:
        return self._fs.time_ns() / 1e9
