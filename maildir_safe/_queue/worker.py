"""A worker: claims what is due, hands it to a courier, and writes down what became of it.

Each recipient's answer becomes a state of the item's name: has it (`d`), tried again later (`o`),
given up (`f`). An item with somebody given up goes back to the front of the queue, so that its
sender is told by whoever claims it next; when that is done the state is `b`. Every one of these
steps is the one rename that returns the item, and so is repeated at most if power fails.
"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections import defaultdict

from maildir_safe._queue import bounce
from maildir_safe._queue.claim import close_reader
from maildir_safe._queue.couriers.courier import DeliveryRequest, RecipientStatus, same_status
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.store.item import BOUNCED, DONE, FAILED, OWED
from maildir_safe.errors import LeaseLost, PermanentError, TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from maildir_safe._queue.claim import Claim
    from maildir_safe._queue.couriers.courier import Courier
    from maildir_safe._queue.metrics import Metrics
    from maildir_safe._queue.queue import Queue

log = logging.getLogger("maildir_safe.queue")

_POLL = 1.0
_BUSY_DELAY = 10.0  # seconds that an item waits when its destination has as many as it may


class Worker:
    """Works a queue with a courier. `run` until `stop`; or `run_once`.

    Args:
        queue: stays the caller's, who closes it afterwards.
        courier: see `maildir_safe._queue.couriers.courier.Courier`.
        bounces: the courier that takes bounces to senders; by default the same.
        schedule: when to try again, and when to give up.
        concurrency: items handed over at the same time.
        per_destination: the same for each recipient domain; by default no less than for all.
        timeout: seconds after which a courier that has not answered loses its item, which is
            tried again. Its thread cannot be stopped; what it still says is not listened to.
        host: our name in bounces.
        metrics: counts what happens.
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
        metrics: Metrics | None = None,
    ) -> None:
        self._queue = queue
        self._fs = queue._fs
        self._courier = courier
        self._bounces = bounces or courier
        self._schedule = schedule or Schedule()
        self._slots = threading.Semaphore(concurrency)
        self._concurrency = concurrency
        self._per_destination = per_destination or concurrency
        self._timeout = timeout
        self._host = host or os.uname().nodename
        self._metrics = metrics
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[str, int] = defaultdict(int)
        self._in_hand: dict[Claim, float] = {}

    def run(self, grace: float = 30.0) -> None:
        """Work until `stop` is called.

        What is in couriers' hands then is waited for, `grace` seconds at most, and released.
        """
        while not self._stopping.is_set():
            self._start_some(wait=_POLL)
            self._end_overdue()
        self._drain(grace)

    def run_once(self) -> int:
        """Hand over all that is due now, wait for the answers; how many items that were."""
        count = 0
        while started := self._start_some(wait=None):
            count += started
            self._drain(self._timeout)
        return count

    def stop(self) -> None:
        """Let `run` finish; may be called by a signal handler, and more than once."""
        self._stopping.set()

    # Starting and ending

    def _start_some(self, wait: float | None) -> int:
        """Claim as many as there are free slots and start them; how many."""
        free = 0
        while free < self._concurrency and self._slots.acquire(blocking=False):
            free += 1
        if not free:
            self._stopping.wait(0.05)
            return 0
        claims: list[Claim] = []
        try:
            claims = self._queue.claim(free, wait, bounces=True)
        except TemporaryError as error:
            log.warning("%s", error)
            self._stopping.wait(_POLL)
        finally:
            for _ in range(free - len(claims)):
                self._slots.release()
        self._count("claims", len(claims))
        for claim in claims:
            with self._lock:
                self._in_hand[claim] = self._fs.monotonic()
            threading.Thread(target=self._work, args=(claim,), daemon=True).start()
        return len(claims)

    def _work(self, claim: Claim) -> None:
        try:
            self.handle(claim)
        finally:
            with self._lock:
                listened_to = self._in_hand.pop(claim, None) is not None
            if listened_to:
                self._slots.release()

    def _end_overdue(self) -> None:
        now = self._fs.monotonic()
        with self._lock:
            overdue = [claim for claim, since in self._in_hand.items() if now - since > self._timeout]
            for claim in overdue:
                del self._in_hand[claim]
        for claim in overdue:
            self._slots.release()
            self._record_with_retry(
                claim, claim.item.states, self._delay(claim), {"text": "4.4.7 the courier did not answer"}
            )

    def _drain(self, grace: float) -> None:
        until = self._fs.monotonic() + grace
        while self._in_hand and self._fs.monotonic() < until:
            self._end_overdue()
            self._fs.sleep(0.01)
        with self._lock:
            left = list(self._in_hand)
        for claim in left:
            try:
                claim.release()
            except TemporaryError as error:
                log.warning("%s", error)

    # One item

    def handle(self, claim: Claim) -> None:
        """Do what is due for one item: hand it over, or tell its sender. Raises nothing."""
        item = claim.item
        due = OWED in item.states and item.not_before <= self._now()
        try:
            if due and not (FAILED in item.states and item.tries % 2):  # both are due: turn about
                self._hand_over(claim)
            else:
                self._send_bounce(claim)
        except LeaseLost:
            self._count("leases_lost")  # the claim itself has logged it
        except (PermanentError, TemporaryError, OSError) as error:  # it returns: nobody answers for it
            log.warning("%s: %s", claim.id, error)

    def _hand_over(self, claim: Claim) -> None:
        owed = claim.envelope.owed
        destination = owed[0].rpartition("@")[2].lower()
        with self._lock:
            busy = self._busy[destination] >= self._per_destination
            self._busy[destination] += not busy
        if busy:
            claim.release(_BUSY_DELAY)
            return
        try:
            request = DeliveryRequest(claim.id, claim.envelope.sender, owed, claim.open, claim.confirm, claim)
            statuses = self._call_courier(self._courier, request)
        finally:
            with self._lock:
                self._busy[destination] -= 1
                if not self._busy[destination]:
                    del self._busy[destination]
        if not claim.ended:
            self._write_down(claim, statuses)

    def _call_courier(self, courier: Courier, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """The courier's answers, one for each recipient, whatever it does."""
        try:
            request.confirm()
            given = courier(request)
        except LeaseLost:
            raise
        except PermanentError as error:
            given = same_status(request, RecipientStatus(550, f"{error.status} {error}"))
        except Exception as error:  # noqa: BLE001 - a courier may be anybody's code
            log.warning("%s: the courier raised %r", request.id, error)
            given = same_status(request, RecipientStatus(451, f"4.3.0 {type(error).__name__}: {error}"))
        if given is None:
            given = same_status(request, RecipientStatus(250, "2.0.0 taken"))
        silent = RecipientStatus(451, "4.3.0 the courier gave no answer")
        statuses = {recipient: given.get(recipient, silent) for recipient in request.recipients}
        for recipient, status in statuses.items():
            log.info("%s: to=<%s> %d %s", request.id, recipient, status.code, status.text)
            self._count("deliveries", courier, status)
        return statuses

    def _write_down(self, claim: Claim, statuses: Mapping[str, RecipientStatus]) -> None:
        last = self._schedule.is_over(claim.item.arrived, self._now())
        letters = []
        for recipient, state in zip(claim.envelope.recipients, claim.item.states, strict=True):
            status = statuses.get(recipient) if state == OWED else None
            if status is not None:
                state = DONE if status.done else FAILED if status.permanent or last else OWED
            letters.append(state)
        note = {"recipients": {who: [status.code, status.text] for who, status in statuses.items()}}
        states = "".join(letters)
        trouble = not all(status.done for status in statuses.values())
        self._record_with_retry(
            claim, states, self._delay(claim) if OWED in states else 0.0, note if trouble else None
        )

    def _send_bounce(self, claim: Claim) -> None:
        """Tell the sender who was given up. A bounce of a bounce there is not: `f` becomes `b` at once."""
        envelope = claim.envelope
        told = claim.item.states.replace(FAILED, BOUNCED)
        if envelope.sender:
            request = self._bounce(claim)
            status = self._call_courier(self._bounces, request)[envelope.sender]
            tried_for = self._now() - claim.item.arrived
            if not (status.done or status.permanent or tried_for >= 2 * self._schedule.give_up):
                note = {"recipients": {envelope.sender: [status.code, f"(bounce) {status.text}"]}}
                self._record_with_retry(claim, claim.item.states, self._delay(claim), note)
                return
        self._record_with_retry(claim, told, None, None)

    def _bounce(self, claim: Claim) -> DeliveryRequest:
        envelope = claim.envelope
        statuses = dict.fromkeys(
            envelope.in_state(FAILED), RecipientStatus(550, "5.0.0 given up; no answer was kept")
        )
        for note in claim.notes():
            for recipient, (code, text) in note.get("recipients", {}).items():
                if recipient in statuses:
                    statuses[recipient] = RecipientStatus(code, text)
        failure = bounce.Failure(
            claim.id, envelope.sender, statuses, self._host, claim.item.arrived, self._now()
        )
        original = claim.open()
        try:
            message = bounce.build(failure, original)
        finally:
            close_reader(original)
        return DeliveryRequest(claim.id, "", (envelope.sender,), lambda: io.BytesIO(message), claim.confirm)

    # Inside

    def _record_with_retry(
        self, claim: Claim, states: str, delay: float | None, note: dict[str, Any] | None
    ) -> None:
        """Settle a claim, again if the storage does not answer: what was sent must not be sent twice."""
        for pause in (1.0, 10.0, 60.0, None):
            try:
                claim.record_outcome(states, delay, note)
                return
            except LeaseLost:
                self._count("leases_lost")
                return
            except TemporaryError as error:
                log.warning("%s: %s", claim.id, error)
                if pause is None:
                    return
                self._fs.sleep(pause)

    def _delay(self, claim: Claim) -> float:
        chance = int.from_bytes(self._fs.random(4), "big") / 2**32
        return self._schedule.delay(claim.attempt, chance)

    def _now(self) -> float:
        return self._fs.time_ns() / 1e9

    def _count(self, what: str, *details: object) -> None:
        if self._metrics is not None:
            getattr(self._metrics, what)(*details)
