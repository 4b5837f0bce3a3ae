"""Claims that end badly: they return, without any garbage collector, and what was sent is not sent again."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator

import pytest

from maildir_safe._queue.couriers.courier import DeliveryRequest, RecipientStatus
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfs import Fault, SimServer
from tests.model.queue_world import LEASE, SPOOL, Actor, Ledger, delivered, new_server, reckon


@pytest.fixture(autouse=True)
def nothing_is_collected() -> Iterator[None]:
    """What returns only when a cycle of references is collected does not return."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Post:
    """An SMTP courier that says 250."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        request.confirm()
        self.sent.append(request.id)
        return {recipient: RecipientStatus(250, "2.0.0 taken") for recipient in request.recipients}


def work(actor: Actor, courier: object, minutes: int) -> None:
    worker = Worker(actor.queue, courier)  # type: ignore[arg-type]
    for _ in range(minutes):
        try:
            claims = actor.queue.claim(10, bounces=True)
        except TemporaryError:
            claims = []
        while claims:
            worker.handle(claims.pop())
        actor.tend()
        actor.server.advance(60.0)


def held(server: SimServer) -> list[str]:
    return [path for path in server.files() if path.startswith((f"{SPOOL}/claimed/", f"{SPOOL}/pending/"))]


@pytest.mark.parametrize("refused", [1, 5, 17, 21, 40])
@pytest.mark.parametrize("error", [errno.EIO, errno.ETIMEDOUT, errno.ESTALE])
def test_an_unlink_that_is_refused_for_long_after_the_message_was_sent(error: int, refused: int) -> None:
    """Sent once; and when the storage answers again, the item goes, in a bounded time."""
    server, post = new_server("nfs4"), Post()
    actor = Actor(server, Ledger(), "a", [Fault("unlink", error, times=refused, match="/claimed/")])
    actor.queue.put(b"Subject: one\n\n", "s@example.org", ["r@example.org"])
    work(actor, post, 240)
    assert len(actor.host.plan.hits) == refused, "it was not tried again"
    assert len(post.sent) == 1, "what was sent was sent again"
    assert not held(server), "it stays claimed"


@pytest.mark.parametrize("kind", ["rename", "fsync_dir", "open_dir", "listdir", "create"])
@pytest.mark.parametrize("times", [5, 40])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 6])
def test_a_claim_that_cannot_be_given_back_for_a_while_returns_later(nth: int, kind: str, times: int) -> None:
    """The courier says 451 while the storage refuses; nothing is held for ever."""
    server = new_server("nfs4")
    actor = Actor(server, Ledger(), "a")
    actor.queue.put(b"Subject: one\n\n", "s@example.org", ["r@example.org"])
    actor.host.plan.faults = (Fault(kind, errno.EIO, times=times, nth=nth, match=SPOOL),)  # type: ignore[arg-type]

    def busy(request: DeliveryRequest) -> dict[str, RecipientStatus]:
        return {recipient: RecipientStatus(451, "4.4.1 no answer") for recipient in request.recipients}

    work(actor, busy, 30)
    actor.host.plan.faults = ()
    post = Post()
    work(actor, post, 300)
    assert post.sent, "it never came back"
    assert not held(server)


@pytest.mark.parametrize(
    "nonsense", [True, "250 ok", RecipientStatus(250, "taken"), {"r@example.org": 250}, [], 7]
)
def test_whatever_a_courier_returns_the_claim_ends(nonsense: object) -> None:
    server = new_server("local")
    actor = Actor(server, Ledger(), "a")
    actor.queue.put(b"Subject: one\n\n", "s@example.org", ["r@example.org"])
    work(actor, lambda _: nonsense, 3)
    assert not [path for path in server.files() if path.startswith(f"{SPOOL}/claimed/")]
    post = Post()
    work(actor, post, 600)
    assert not held(server)


@pytest.mark.parametrize("kind", ["open", "read", "fstat"])
@pytest.mark.parametrize("error", [errno.EIO, errno.EAGAIN, errno.ESTALE])
def test_an_item_that_cannot_be_read_for_a_while_returns(error: int, kind: str) -> None:
    """The worker does not know what to say of it, and lets it go."""
    server, post = new_server("nfs4"), Post()
    fault = Fault(kind, error, times=12, match="/claimed/")  # type: ignore[arg-type]
    actor = Actor(server, Ledger(), "a", [fault])
    actor.queue.put(b"Subject: one\n\n", "s@example.org", ["r@example.org"])
    work(actor, post, 240)
    assert actor.host.plan.hits
    assert len(post.sent) == 1, "it never came back"
    assert not held(server)


@pytest.mark.parametrize("kind", ["open_dir", "listdir"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_one_unreadable_bucket_does_not_starve_the_others(error: int, kind: str) -> None:
    server, ledger = new_server("nfs4"), Ledger()
    for name in ("p", "q", "r"):
        Actor(server, ledger, name).put(f"{name}1", f"{name}2")
    buckets = sorted({path.split("/")[3] for path in server.files() if path.startswith(f"{SPOOL}/pending/")})
    assert len(buckets) == 3
    for bad in buckets:
        fault = Fault(kind, error, times=10**6, match=f"/pending/{bad}")  # type: ignore[arg-type]
        worker = Actor(server, ledger, f"w{bad}", [fault])
        mine = {path for path in server.files() if f"/{bad}/" in path}
        for _ in range(5):
            for claim in worker.claim(10):
                claim.release()
            server.advance(LEASE / 10)
        names = {path.rpartition("/")[2].partition(",")[0] for path in mine}
        taken = {
            call.names.rpartition("/")[2].partition(",")[0]
            for call in server.history
            if call.host == f"w{bad}" and call.kind == "rename" and " -> /spool/claimed/" in call.names
        }
        assert len(taken - names) >= 4, f"starved by {bad}: {taken}"
        worker.queue.close()
    reckon(server, ledger)


@pytest.mark.parametrize("error", [errno.ENOENT])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_heartbeat_that_is_listed_was_not_fenced(nth: int, error: int) -> None:
    """One ENOENT of its rename, which was not executed, is no lost lease."""
    server, ledger = new_server("nfs4"), Ledger()
    actor = Actor(server, ledger, "a", [Fault("rename", error, nth=nth, match="/alive/")])
    actor.put("one")
    [claim] = actor.claim()
    for _ in range(6):
        actor.host.sleep(LEASE / 3)
        actor.tend()
    assert actor.host.plan.hits
    assert actor.end(claim, "deliver") == "done"
    assert delivered(server) == {"one": 1}
    reckon(server, ledger)
