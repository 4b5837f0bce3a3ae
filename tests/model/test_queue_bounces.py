"""A failure is told to its sender, whenever power fails: at least once, and once if it does not."""

from __future__ import annotations

import pytest

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue import bounce
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.store.states import BOUNCE_DUE, BOUNCED
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfs import Fault, SimServer
from tests.model.queue_world import LEASE, SPOOL, Actor, Ledger, faults_of, new_server


class Post:
    """What went out, in spite of every crash: ``a`` takes all, ``b`` never, and ``s`` is the sender."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        request.open().read()
        request.confirm()
        statuses = {}
        for recipient in request.recipients:
            refused = recipient.startswith("b")
            statuses[recipient] = (
                RecipientStatus(550, "5.1.1 nobody") if refused else RecipientStatus(250, "ok")
            )
            self.sent += [] if refused else [recipient]
        return statuses


def work(actor: Actor, post: Post, rounds: int = 4) -> None:
    try:
        worker = Worker(actor.queue, post, host="mx.example.org")
    except TemporaryError:
        return  # it cannot even be opened now
    for _ in range(rounds):
        for claim in actor.claim(9, bounces=True):
            worker.handle(claim)
        actor.host.sleep(1.0)


def put(server: SimServer) -> None:
    Actor(server, Ledger(), "putter").queue.put(b"x\n", "s@x.org", ["a@x.org", "b@x.org"])


def finish(server: SimServer, post: Post) -> None:
    """A new host goes on, and everything is as it should be in the end."""
    server.settle()
    last = Actor(server, Ledger(), f"last{len(server.hosts)}")
    for _ in range(6):
        work(last, post)
        server.advance(LEASE / 2)
    stats = last.queue.stats()
    assert (stats["pending"], stats["claimed"], stats["failed"]) == (0, 0, 1), stats
    [listed] = last.queue.items("failed")
    assert listed.item.states == "db"
    last.queue.close()
    assert post.sent.count("a@x.org") >= 1
    assert post.sent.count("s@x.org") >= 1, "the sender was never told"
    leftover = [path for path in server.files() if path.startswith(f"{SPOOL}/notes/")]
    assert leftover, "what was answered is forgotten"


def test_without_trouble_everybody_is_told_once() -> None:
    server, post = new_server(), Post()
    put(server)
    finish(server, post)
    assert sorted(post.sent) == ["a@x.org", "s@x.org"]


def test_a_crash_anywhere() -> None:
    server, post = new_server(), Post()
    put(server)
    found: list[tuple[SimServer, Post]] = []

    def look(_: object) -> None:
        for choice in server.disk.choices():
            before = Post()
            before.sent = post.sent.copy()
            found.append((server.crashed(choice), before))

    server.after_call = look
    work(Actor(server, Ledger(), "a"), post)
    server.after_call = None
    for after, before in found:
        finish(after, before)
    assert len(found) > 100
    assert post.sent.count("s@x.org") == 1
    print(f"{len(found)} crashes")


@pytest.mark.parametrize("profile", ["local", "nfs4"])
def test_every_single_fault(profile: str) -> None:
    def run(*faults: Fault) -> tuple[SimServer, Post]:
        server, post = new_server(profile), Post()
        put(server)
        work(Actor(server, Ledger(), "a", faults), post)
        return server, post

    faults = list(faults_of(run()[0], "a"))
    for fault in faults:
        try:
            finish(*run(fault))
        except (AssertionError, TemporaryError) as error:
            raise AssertionError(f"{fault}: {error}") from error
    print(f"{len(faults)} faults")


def b_before_the_bounce(self: Worker, claim: Claim) -> None:
    request = bounce.request(claim, self._host, self._now())
    self._record_with_retry(claim, claim.item.states.replace(BOUNCE_DUE, BOUNCED), None, None)
    request.open().read()
    self._fs.monotonic()
    self._queue.stats()  # any file call: here the power may fail
    self._bounces(DeliveryRequest(request.id, "", request.recipients, request.open, lambda: None))
