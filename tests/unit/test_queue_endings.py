"""Every claim of a worker ends, no destination holds up another, and nothing is sent twice by one worker."""

from __future__ import annotations

import contextlib
import email
import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue import destinations, worker as worker_module
from maildir_safe._queue.couriers.courier import DeliversFiles, DeliveryRequest, HasDestinations, checked
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.store.states import OWED, check_transitions
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfs import Fault, SimHost, SimServer
from tests.model.queue_world import LEASE, MAIL, SPOOL, Actor, Ledger, new_server

MESSAGE = b"Subject: hello\n\nbody\n"
DAY = 86400.0


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "spool") as queue:
        yield queue


def until(happened: Callable[[], object]) -> None:
    for _ in range(3000):
        if happened():
            return
        threading.Event().wait(0.02)
    pytest.fail("it does not happen")


# -- what a courier does ----------------------------------------------------------------------


@pytest.mark.parametrize("dies_of", [SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit])
def test_a_thread_that_dies_leaves_no_claim(dies_of: type[BaseException]) -> None:
    server = new_server()
    actor = Actor(server, Ledger())
    actor.put("one")

    def dies(_: DeliveryRequest) -> None:
        raise dies_of

    [claim] = actor.claim()
    with contextlib.suppress(dies_of):  # an ordinary exception is no death
        Worker(actor.queue, dies).handle(claim)
    assert claim.ended
    del claim
    server.advance(LEASE / 3)
    actor.tend()
    assert actor.queue.stats()["pending"] == 1
    assert actor.queue.stats()["claimed"] == 0


def test_without_more_threads_items_return_and_slots_stay(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(queue, lambda _: None, concurrency=2)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(TemporaryError):
        queue.claim()  # without a heartbeat nothing is claimed
    monkeypatch.undo()
    assert queue.claim() == []
    queue.put_many([(MESSAGE, "", [f"{n}@x.org"]) for n in range(3)])
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert worker._start_some(worker._slots.take(0), None) == 2
    monkeypatch.undo()
    assert worker._in_hand == {}
    queue._opened.consumer.registered().renew_at = 0.0
    queue.tend()
    assert worker.run_once() == 3
    assert queue.stats()["pending"] == queue.stats()["claimed"] == 0


class Status(RecipientStatus):
    """Of a class of somebody's own."""


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, 250), ({}, 451), (True, 451), ("250 ok", 451), (RecipientStatus(250, "ok"), 451), ([], 451),
        ({"a@x.org": 250}, 451), ({"a@x.org": (250, "ok")}, 451), ({"a@x.org": True}, 451),
        ({"a@x.org": RecipientStatus(True, "ok")}, 451), ({"a@x.org": RecipientStatus(99, "x")}, 451),
        ({"a@x.org": RecipientStatus(250, None)}, 451),  # type: ignore[arg-type]
        ({"a@x.org": Status(550, "5.1.1 no")}, 550), ({"b@x.org": RecipientStatus(250, "ok")}, 451),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_tried_again(given: object, code: int) -> None:
    request = DeliveryRequest("id", "", ("a@x.org",), lambda: None, lambda: None)  # type: ignore[arg-type, return-value]
    assert checked(given, request)["a@x.org"].code == code


def test_what_was_sent_under_a_lost_lease_is_not_sent_again_by_the_same_worker() -> None:
    """The lease is lost between the 250 and the record of it; the item comes back to this worker."""
    server, sent = new_server(), []
    actor, other = Actor(server, Ledger(), "a"), Actor(server, Ledger(), "b")
    actor.put("one")

    def post(request: DeliveryRequest) -> None:
        sent.append(request.id)
        other.tend()
        server.advance(LEASE * 1.2)
        other.tend()

    worker = Worker(actor.queue, post)
    for _ in range(3):
        for claim in actor.claim(9):
            worker.handle(claim)
        server.advance(30.0)
    assert len(sent) == 1
    stats = actor.queue.stats()
    assert stats["pending"] == stats["claimed"] == 0


# -- destinations -----------------------------------------------------------------------------


class Mounts:
    """A courier that knows destinations; one of them hangs."""

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.begun: list[str] = []

    def destination(self, recipient: str) -> str:
        return "hangs" if recipient.startswith("h") else "works"

    def __call__(self, request: DeliveryRequest) -> None:
        [recipient] = request.recipients
        self.begun.append(recipient)
        if recipient.startswith("h"):
            self.hangs.wait(120)


def test_a_mount_that_hangs_holds_up_no_other(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """All slots were taken by it for half an hour. Only as many threads wait for it as there are slots."""
    monkeypatch.setattr(destinations, "STALLED_AFTER", 0.1)
    courier = Mounts()
    queue.put_many([(MESSAGE, "", [f"h{n}@x.org"]) for n in range(6)])
    worker = Worker(queue, courier, concurrency=2)
    runner = threading.Thread(target=worker.run, args=(5.0,))
    runner.start()
    until(lambda: len(courier.begun) == 2)
    queue.put_many([(MESSAGE, "", [f"works{n}@x.org"]) for n in range(3)])
    until(lambda: sum(who.startswith("works") for who in courier.begun) == 3)
    assert sum(who.startswith("h") for who in courier.begun) == 2
    worker.stop()
    courier.hangs.set()
    runner.join()
    stats = queue.stats()
    assert stats["pending"] + stats["claimed"] == 4


def mount_courier(host: SimHost) -> MaildirCourier:
    return MaildirCourier(lambda _: [MAIL], lambda path: Maildir(path, create=False, fs=host), host)


@pytest.mark.parametrize("profile", ["local", "nfs4"])
def test_an_item_whose_maildir_cannot_be_fsynced_is_delivered_once(
    profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename was done, so that returning the item finds nothing to return; nor does a crash double it."""
    monkeypatch.setattr(destinations, "STALLED_AFTER", 600.0)  # the simulated clock waits for caches
    server = new_server(profile)
    host = SimHost(server, "a", faults=[Fault("fsync_dir", errno.EIO, match=f"{MAIL}/new")])
    queue = Queue(SPOOL, create=False, fs=host, heartbeat=False)
    queue.put(MESSAGE, "", ["a@x.org"])
    worker = Worker(queue, mount_courier(host), schedule=Schedule(first=0.0))
    crashed: list[SimServer] = []
    server.after_call = lambda _: crashed.extend(server.crashed(choice) for choice in server.disk.choices())
    worker.run_once()
    server.after_call = None
    assert worker.deferred == 1, "the outcome is not known"
    stats = queue.stats()
    assert stats["pending"] + stats["claimed"] == 0
    assert len(crashed) > 20
    for after in [server, *crashed[::3]]:
        other = SimHost(after, "b")
        later = Worker(Queue(SPOOL, create=False, fs=other, heartbeat=False), mount_courier(other))
        for _ in range(3):
            later.run_once()
            after.advance(2.0 * LEASE)
        assert len(list(Maildir(MAIL, create=False, fs=other).messages())) == 1


@pytest.mark.parametrize("once", [False, True])
def test_a_server_that_hangs_for_ever_holds_up_no_other(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, once: bool
) -> None:
    """One of three destinations never answers, and its mail is at the front of the queue."""
    monkeypatch.setattr(destinations, "SLOW_AFTER", 0.1)
    hangs, sent = threading.Event(), []

    def courier(request: DeliveryRequest) -> None:
        [recipient] = request.recipients
        if recipient.endswith("@hangs.example"):
            hangs.wait(60)
        sent.append(recipient)

    queue.put_many([(MESSAGE, "", [f"u{n}@hangs.example"]) for n in range(4)])
    others = [f"u{n}@{domain}.example" for n in range(6) for domain in ("one", "two")]
    queue.put_many([(MESSAGE, "", [who]) for who in others])
    worker = Worker(queue, courier, concurrency=2)
    runner = threading.Thread(target=worker.run_once if once else worker.run)
    runner.start()
    until(lambda: len(sent) == len(others))
    assert sorted(sent) == sorted(others)
    hangs.set()
    worker.stop()
    runner.join()


def test_no_more_threads_wait_for_slow_servers_than_the_limit(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "SLOW_AFTER", 0.05)
    monkeypatch.setattr(worker_module, "MOST_SLOW", 3)
    hangs, begun = threading.Event(), []

    def courier(request: DeliveryRequest) -> None:
        begun.append(request.recipients)
        hangs.wait(60)

    queue.put_many([(MESSAGE, "", [f"u@d{n}.example"]) for n in range(12)])
    worker = Worker(queue, courier, concurrency=2)
    runner = threading.Thread(target=worker.run)
    runner.start()
    until(lambda: len(begun) == 5)
    threading.Event().wait(0.5)
    assert len(begun) == 5
    hangs.set()
    worker.stop()
    runner.join()


def test_the_destination_of_a_mailbox_is_its_mount() -> None:
    courier = MaildirCourier(lambda address: [f"/{address}/x"])
    assert isinstance(courier, HasDestinations)
    assert isinstance(courier, DeliversFiles)
    assert courier.destination("proc") == "/proc/"
    assert courier.destination("process") == "/"


# -- what strangers are told ------------------------------------------------------------------


def test_a_bounce_tells_no_local_path_and_no_errno(queue: Queue, tmp_path: Path) -> None:
    got: list[bytes] = []

    def bounces(request: DeliveryRequest) -> None:
        with request.open() as file:
            got.append(file.read())

    maildir = Maildir(tmp_path / "a")
    (tmp_path / "a" / "new").rmdir()
    ident = queue.put(MESSAGE, "s@x.org", ["a@x.org"])
    courier = MaildirCourier(lambda _: [maildir.path])
    Worker(queue, courier, bounces=bounces, schedule=Schedule(give_up=0.0)).run_once()
    [report] = got
    for part in email.message_from_bytes(report).walk():
        text = str(part.get_payload(decode=True) or part)
        assert str(tmp_path) not in text
        assert "ENOENT" not in text
        assert "No such file" not in text
    assert str(tmp_path) in str(queue.why(ident)), "an operator is told"


def test_what_couriers_say_is_one_line_in_notes_and_bounces(queue: Queue) -> None:
    def rude(request: DeliveryRequest) -> dict[str, RecipientStatus]:
        return {who: RecipientStatus(451, "4.2.0 \x1b[2J\r\nX: y" + "z" * 5000) for who in request.recipients}

    ident = queue.put(MESSAGE, "", ["a@x.org"])
    Worker(queue, rude).run_once()
    [note] = queue.why(ident)
    [(_, text, _)] = note["recipients"].values()
    assert text.isprintable()
    assert len(text) <= 1000


# -- states and schedule ----------------------------------------------------------------------


@pytest.mark.parametrize("change", ["do", "df", "db", "bf", "bd", "ob", "fd", "ox", "o"])
def test_a_change_that_the_table_does_not_have_is_refused(queue: Queue, change: str) -> None:
    with pytest.raises(ValueError, match="recipient"):
        check_transitions(change[0], change[1:])
    if change[0] == OWED:
        queue.put(MESSAGE, "", ["a@x.org"])
        [claim] = queue.claim()
        with pytest.raises(ValueError, match="recipient"):
            claim.record_outcome(change[1:])


@pytest.mark.parametrize("ahead", [-3000 * DAY, 0.0, 6 * DAY, 3000 * DAY])
def test_no_clock_alone_gives_an_item_up_and_none_keeps_it_for_ever(ahead: float) -> None:
    schedule = Schedule()
    elapsed, tries = 0.0, 0
    while not schedule.is_over(tries := tries + 1, 0.0, ahead + elapsed):
        elapsed += schedule.delay(tries, 0.5)
    assert 4.5 * DAY <= elapsed <= 12 * DAY
