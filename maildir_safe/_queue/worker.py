"""A worker: claims due items, hands them to a courier, and records the outcomes.

Each recipient's status becomes a state in the item's name (`store/states.py`). An item with a failed
recipient returns to the front of the queue, and the worker that claims it next sends the bounce. Each of
these steps is the one rename that returns the item; at worst it is repeated after a power failure.

Whatever the courier does, the claim ends: with an outcome, or by `Claim.let_go`.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from maildir_safe._delivery.dsn import SUCCESS
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue import bounce
from maildir_safe._queue.couriers.courier import (
    DeliveryRequest,
    HasDestinations,
    Relays,
    answer_of,
    close_connections,
    destination_of,
)
from maildir_safe._queue.destinations import MOST_SLOW, Destinations, InHand
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.sent import Sent
from maildir_safe._queue.slots import Slots
from maildir_safe._queue.store.envelope import states_after
from maildir_safe._queue.store.states import BOUNCE_DUE, BOUNCED, DELIVERED, OWED, REPORT_DUE, has_report_due
from maildir_safe._queue.suspensions import Suspensions
from maildir_safe.errors import LeaseLost, PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from maildir_safe._queue.claim import Claim
    from maildir_safe._queue.couriers.courier import Courier
    from maildir_safe._queue.metrics import Metrics
    from maildir_safe._queue.queue import Queue

log = logging.getLogger("maildir_safe.queue")

_POLL = 1.0
_SLOT_WAIT = 0.05  # seconds for slots to become free, before overdue items and `stop` are looked at again
_BUSY_DELAY = 10.0  # seconds that an item waits while its destination is at its limit
_STALLED_DELAY = 60.0  # seconds that an item waits while its destination is stalled
_SENT_BEFORE = RecipientStatus(250, "2.0.0 it was sent before, but that could not be recorded")
_LATE = RecipientStatus(451, "4.4.7 the courier did not answer")


class Worker:
    """Works a queue with a courier. `run` until `stop`; or `run_once`.

    Args:
        queue: remains the caller's, who closes it afterwards.
        courier: see `maildir_safe._queue.couriers.courier.Courier`.
        bounces: the courier for bounces; by default the same.
        schedule: decides when to retry, and when to give up.
        concurrency: most items handed over at the same time.
        per_destination: the same per destination; by default `concurrency`.
        timeout: seconds after which a courier that has not returned loses its item, which is then
            retried. Its thread cannot be stopped, and its late result is ignored.
        host: our name in bounces.
        warn_after: seconds after which a sender is told that a message is still on its way; 0: never.
        metrics: counts events.

    Attributes:
        delivered, deferred, failed: how many recipients got the message, are to be retried, or were given
            up; counted at each attempt since this worker was created.
    """

    def __init__(
        self,
        queue: Queue,
        courier: Courier,
        *,
        bounces: Courier | None = None,
        schedule: Schedule | None = None,
        concurrency: int = 10,
        per_destination: int | None = None,
        timeout: float = 1800.0,
        host: str | None = None,
        warn_after: float = 0.0,
        metrics: Metrics | None = None,
    ) -> None:
        self._queue = queue
        self._fs = queue.fs
        self._courier = courier
        self._bounces = bounces or courier
        self._schedule = schedule or Schedule()
        self._slots = Slots(concurrency)
        self._destinations = Destinations(per_destination or concurrency, self._fs.monotonic)
        self._timeout = timeout
        self._host = host or os.uname().nodename
        self._suspensions = Suspensions(self._fs, queue.path, os.uname().nodename, self._schedule.first)
        self._metrics = metrics
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._in_hand: dict[Claim, InHand] = {}
        self._sent = Sent()
        self._warn_after = warn_after
        self._trouble: TemporaryError | None = None
        self.delivered = self.deferred = self.failed = 0

    def run(self, grace: float = 30.0, on_turn: Callable[[], None] | None = None) -> None:
        """Work until `stop` is called.

        Then wait up to `grace` seconds for the couriers, and release the items that are left.

        Args:
            grace: how long to wait, in seconds.
            on_turn: called about once a second, in this thread, as long as the queue can be read.
        """
        while not self._stopping.is_set():
            if free := self._slots.take(_SLOT_WAIT):
                self._start_some(free, wait=_POLL)
            self._end_overdue()
            if on_turn is not None and self._trouble is None:
                on_turn()
        self._drain(grace)
        self._close()

    def run_once(self) -> int:
        """Hand over all due items, wait for their statuses, and return the number of items.

        Raises:
            TemporaryError: part of the queue could not be read or claimed. The rest was handed over.
        """
        count = 0
        while True:
            self._end_overdue()
            if not (free := self._slots.take(_SLOT_WAIT)):
                continue
            others = self._is_busy(everything=False)  # before the look: what they do may make items due
            count += (started := self._start_some(free, wait=None))
            if not started and not others:
                break
            if started < free:
                self._wait(self._timeout, everything=False)  # not for what may hang
        self._drain(self._timeout)
        self._close()
        if self._trouble is not None:
            raise self._trouble
        return count

    def stop(self) -> None:
        """Let `run` finish. May be called from a signal handler, and repeatedly."""
        self._stopping.set()

    # Starting and ending

    def _start_some(self, free: int, wait: float | None) -> int:
        """Claim as many items as slots were taken, start them, and return their number."""
        claims: list[Claim] = []
        self._trouble = None
        try:
            claims = self._queue.claim(free, wait, bounces=True)
        except TemporaryError as error:
            self._trouble = error
            log.warning("%s", error)
            self._stopping.wait(_POLL if wait else 0)
        finally:
            self._slots.give_back(free - len(claims))
        self._count("claims", len(claims))
        for claim in claims:
            self._start(claim)
        return len(claims)

    def _start(self, claim: Claim) -> None:
        with self._lock:
            self._in_hand[claim] = InHand(self._fs.monotonic())
        try:
            threading.Thread(target=self._work, args=(claim,), daemon=True).start()
        except RuntimeError as error:  # no more threads
            log.warning("%s: %s", claim.id, error)
            self._finish(claim)
            claim.let_go()

    def _work(self, claim: Claim) -> None:
        try:
            self.handle(claim)
        finally:
            self._finish(claim)

    def _finish(self, claim: Claim) -> None:
        with self._lock:
            entry = self._in_hand.pop(claim, None)
            if entry is not None and entry.has_slot:
                self._slots.give_back()

    def _end_overdue(self) -> None:
        """Take items from couriers that exceed the timeout, and free the slots of stalled ones."""
        now = self._fs.monotonic()
        with self._lock:
            overdue = [pair for pair in self._in_hand.items() if now - pair[1].since > self._timeout]
            for entry in self._in_hand.values():
                if entry.has_slot and entry.visit is not None and entry.visit.is_slow(now):
                    if sum(not other.has_slot for other in self._in_hand.values()) >= MOST_SLOW:
                        break
                    entry.has_slot = False
                    self._slots.give_back()
                    log.warning("%s is slow: others do not wait for it", entry.visit.destination)
        for claim, entry in overdue:
            self._finish(claim)
            if entry.visit is not None and not entry.visit.may_stall:
                self._suspensions.record(entry.visit.destination, [_LATE])
            note, delay = {"text": _LATE.text}, self._delay(claim)
            self._record_with_retry(claim, claim.item.states, delay, note, pauses=())

    def _wait(self, grace: float, everything: bool) -> None:
        """Wait until nothing is in hand, or only what has no slot."""
        until = self._fs.monotonic() + grace
        while self._fs.monotonic() < until and self._is_busy(everything):
            self._end_overdue()
            self._fs.sleep(0.01)

    def _is_busy(self, everything: bool) -> bool:
        with self._lock:
            return any(everything or entry.has_slot for entry in self._in_hand.values())

    def _close(self) -> None:
        close_connections(self._courier, self._bounces)
        self._suspensions.save()

    def _drain(self, grace: float) -> None:
        self._wait(grace, everything=True)
        with self._lock:
            left = list(self._in_hand)
        for claim in left:
            try:
                claim.release()
            except TemporaryError as error:
                log.warning("%s", error)
            finally:
                claim.let_go()

    # One item

    def handle(self, claim: Claim) -> None:
        """Do what is due for one item: deliver it, or send its bounce. Raises nothing.

        Afterwards the claim has ended, or its outcome is still being recorded (`Claim.record_later`).
        """
        item = claim.item
        due = OWED in item.states and item.not_before <= self._now()
        try:
            if due and not (has_report_due(item.states) and item.tries % 2):  # both due: take turns
                self._deliver(claim)
            else:
                self._send_bounce(claim)
        except LeaseLost:
            self._count("leases_lost")  # the claim itself has logged it
        except (PermanentError, TemporaryError, OSError) as error:
            log.warning("%s: %s", claim.id, error)
        except Exception:
            log.exception("%s: unexpected error; the item returns to the queue", claim.id)
        finally:
            claim.let_go()

    def _deliver(self, claim: Claim) -> None:
        owed = claim.envelope.owed
        own = isinstance(self._courier, HasDestinations)  # a mount: it stalls, and is never out of reach
        destination, trouble = destination_of(self._courier, claim.id, owed[0], claim.envelope.sender)
        trouble = trouble or (None if own else self._suspensions.status(destination))
        if trouble is not None:
            statuses = dict.fromkeys(owed, trouble)
            self._note(self._courier, claim.id, statuses)
            self._write_down(claim, statuses)
            return
        visit = self._destinations.enter(destination, may_stall=own)
        if visit is None:
            claim.release(_STALLED_DELAY if own else _BUSY_DELAY)
            return
        try:
            with self._lock:
                if claim in self._in_hand:
                    self._in_hand[claim].visit = visit
            statuses = self._statuses(claim, owed)
            if not own:
                self._suspensions.record(destination, statuses.values())
        finally:
            self._destinations.leave(visit)
        if not claim.ended:
            self._write_down(claim, statuses)

    def _statuses(self, claim: Claim, owed: tuple[str, ...]) -> dict[str, RecipientStatus]:
        """The status of each recipient that is owed the message, which is sent to none of them twice."""
        before = self._sent.to(claim.id)
        left = tuple(recipient for recipient in owed if recipient not in before)
        statuses = {recipient: _SENT_BEFORE for recipient in owed if recipient in before}
        if left:
            envelope = claim.envelope
            sender, dsn = envelope.sender, envelope.dsn
            request = DeliveryRequest(claim.id, sender, left, claim.open, claim.confirm, dsn)
            # a report of success is made from the item, which must then stay
            alone = len(envelope.states) == 1 and not envelope.wants(left[0], SUCCESS)
            new = answer_of(self._courier, request, claim.ack_into if alone else None)
            if not claim.ended:  # before anything else can go wrong
                self._sent.remember(claim.id, {who for who, status in new.items() if status.done})
            self._note(self._courier, claim.id, new)
            statuses |= new
        return statuses

    def _note(self, courier: Courier, ident: str, statuses: dict[str, RecipientStatus]) -> None:
        """Log and count the statuses. An error of a log handler or of the metrics changes nothing."""
        for recipient, status in statuses.items():
            with self._lock:
                self.delivered += status.done
                self.failed += status.permanent
                self.deferred += not (status.done or status.permanent)
            detail = f" ({status.error})" if status.error else ""
            level = logging.INFO if status.done else logging.WARNING
            with suppress(Exception):
                log.log(level, "%s: to=<%s> %d %s%s", ident, recipient, status.code, status.text, detail)
            self._count("deliveries", courier, status)

    def _write_down(self, claim: Claim, statuses: Mapping[str, RecipientStatus]) -> None:
        last = self._schedule.is_over(claim.attempt, claim.item.arrived, self._now())
        states = states_after(claim.envelope, statuses, last)
        if self._warn_after and OWED in states:
            self._warn(claim, statuses)
        note = {"recipients": {who: status[:3] for who, status in statuses.items()}}
        worth_a_note = REPORT_DUE in states or not all(status.done for status in statuses.values())
        delay = self._delay(claim) if OWED in states else 0.0
        self._record_with_retry(claim, states, delay, note if worth_a_note else None)

    def _warn(self, claim: Claim, statuses: Mapping[str, RecipientStatus]) -> None:
        """Warn the sender of a delay: best effort, since the item says nothing about it."""
        request = bounce.warning(claim, statuses, self._host, self._now(), self._warn_after)
        if request is not None:
            self._note(self._bounces, request.id, answer_of(self._bounces, request))

    def _send_bounce(self, claim: Claim) -> None:
        """Send the report that is due. It is never bounced itself: BOUNCE_DUE becomes BOUNCED at once."""
        envelope, key = claim.envelope, f"{claim.id} bounce"
        told = claim.item.states.replace(BOUNCE_DUE, BOUNCED).replace(REPORT_DUE, DELIVERED)
        if bounce.told_now(envelope) and not self._sent.to(key):
            relayed = isinstance(self._courier, Relays)
            request = bounce.request(claim, self._host, self._now(), relayed)
            statuses = answer_of(self._bounces, request)
            status = statuses[envelope.sender]
            if status.done:
                self._sent.remember(key, {envelope.sender})
            self._note(self._bounces, request.id, statuses)
            over = self._schedule.is_over(claim.attempt, claim.item.arrived, self._now(), times=2)
            if not (status.done or status.permanent or over):
                why = [status.code, f"(bounce) {status.text}", status.error]
                note = {"recipients": {envelope.sender: why}}
                self._record_with_retry(claim, claim.item.states, self._delay(claim), note)
                return
            self._sent.remember(key, {envelope.sender})
        self._record_with_retry(claim, told, None, None)

    def _record_with_retry(
        self,
        claim: Claim,
        states: str,
        delay: float | None,
        note: dict[str, Any] | None,
        pauses: tuple[float, ...] = (1.0, 10.0, 60.0),
    ) -> None:
        """Record an outcome, with retries while the storage fails: the message must not be sent twice.

        After the last retry the queue takes over (`Claim.record_later`).
        """
        for pause in (*pauses, None):
            try:
                claim.record_outcome(states, delay, note)
            except LeaseLost:
                self._count("leases_lost")
                return
            except TemporaryError as error:
                log.warning("%s: %s", claim.id, error)
                if pause is None:
                    claim.record_later(states, delay, note)
                    return
                self._fs.sleep(pause)
            else:
                self._sent.forget(claim.id)
                if not has_report_due(states):
                    self._sent.forget(f"{claim.id} bounce")
                return

    def _delay(self, claim: Claim) -> float:
        chance = int.from_bytes(self._fs.random(4), "big") / 2**32
        return self._schedule.delay(claim.attempt, chance)

    def _now(self) -> float:
        return self._fs.time_ns() / 1e9

    def _count(self, what: str, *details: object) -> None:
        if self._metrics is not None:
            with suppress(Exception):  # they may be anybody's code, and the message may have been sent
                getattr(self._metrics, what)(*details)
