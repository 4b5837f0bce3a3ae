"""Several hosts on one spool, interleaved at every file call: every schedule with up to two switches.

A schedule lets one host run, switches to another at some call, and back at a later one. A worker
that stands still meanwhile is the interesting case: somebody fences it and takes its items, and
then it goes on where it was.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator

import pytest

from maildir_safe._queue.claim import Claim
from maildir_safe.errors import LeaseLost, TemporaryError
from maildir_safe.testing.simfs import Fault, SimServer, interleave
from tests.model.queue_world import LEASE, SPOOL, Actor, Ledger, new_server, reckon

Switches = tuple[int, ...]


class Scene:
    """Two hosts and what each does; and who sent what, as an SMTP courier would."""

    checks_holder = True

    def __init__(self, profile: str = "local") -> None:
        self.server: SimServer = new_server(profile)
        self.ledger = Ledger()
        self.a = Actor(self.server, self.ledger, "a")
        self.b = Actor(self.server, self.ledger, "b")
        self.sent: list[tuple[str, str]] = []
        self.wrong: list[str] = []

    def send(self, actor: Actor, claim: Claim) -> None:
        """Send an item away: only who holds it may, at the very moment."""
        try:
            token = actor.token(claim)
            claim.confirm()
        except TemporaryError as error:
            actor.lost += isinstance(error, LeaseLost)
            return
        path = f"{SPOOL}/claimed/{claim._lease.worker}/{claim.item.name}"
        if self.checks_holder and path not in self.server.files():
            self.wrong.append(f"{actor.host.name} sent {token}, which it does not hold")
        self.sent.append((actor.host.name, token))
        actor.end(claim, "ack")

    def run(self, switches: Switches) -> int:
        """Run the two tasks with these switches; how many calls that took."""
        steps = 0

        def choose(step: int, others: int) -> int:
            nonlocal steps
            steps = step
            return int(others > 1 and step in switches)

        tasks = [(self.a.host, self.task_a), (self.b.host, self.task_b)]
        outcomes = interleave(self.server, tasks, choose)
        for _, error in outcomes:
            assert error is None, repr(error)
        assert not self.wrong
        return steps

    def task_a(self) -> None: ...

    def task_b(self) -> None: ...


class BothWant(Scene):
    """Two workers claim the same two items and deliver them."""

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.a.put("one")
        self.b.put("two")

    def work(self, actor: Actor) -> None:
        for claim in actor.claim(2):
            actor.end(claim, "deliver")

    def task_a(self) -> None:
        self.work(self.a)

    def task_b(self) -> None:
        self.work(self.b)


class StandsStill(Scene):
    """One holds an item and finishes it; the other sees it stand still for a lease, and takes over."""

    how = "deliver"

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.a.put("one")
        self.b.queue.claim(0)
        self.held = self.a.claim()

    def task_a(self) -> None:
        for claim in self.held:
            self.finish(self.a, claim)

    def task_b(self) -> None:
        self.b.tend()
        for _ in range(4):  # some look comes a lease after the first
            self.server.advance(LEASE / 3)
            self.b.tend()
        for claim in self.b.claim():
            self.finish(self.b, claim)

    def finish(self, actor: Actor, claim: Claim) -> None:
        if self.how == "send":
            self.send(actor, claim)
        else:
            actor.end(claim, self.how)


class StandsStillAcking(StandsStill):
    how = "ack"


class StandsStillRetrying(StandsStill):
    how = "retry"


class StandsStillFailing(StandsStill):
    how = "fail"


class StandsStillSending(StandsStill):
    how = "send"


class StandsStillClaiming(StandsStill):
    """It stands still while it registers and claims."""

    how = "send"

    def __init__(self, profile: str) -> None:
        Scene.__init__(self, profile)
        self.b.put("one")
        self.b.queue.claim(0)

    def task_a(self) -> None:
        for claim in self.a.claim():
            self.finish(self.a, claim)


class TwoSweepers(Scene):
    """Two hosts find the same worker dead."""

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        dead = Actor(self.server, self.ledger, "dead")
        dead.put("one", "two")
        assert len(dead.claim(2)) == 2
        dead.host.dead = True
        for actor in (self.a, self.b):
            actor.queue.claim(0)
        self.server.advance(LEASE * 1.1)

    def sweep(self, actor: Actor) -> None:
        actor.tend()
        for claim in actor.claim():
            self.send(actor, claim)

    def task_a(self) -> None:
        self.sweep(self.a)

    def task_b(self) -> None:
        self.sweep(self.b)


class PutWhileRemoved(Scene):
    """A bucket is removed under the hands of whoever puts into it."""

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.a.put("one")
        for claim in self.b.claim():
            self.b.end(claim, "deliver")

    def task_a(self) -> None:
        self.a.put("two")

    def task_b(self) -> None:
        self.b.claim()
        self.server.advance(1000.0)
        for claim in self.b.claim():  # the first listing of a bucket that was empty for long removes it
            self.b.end(claim, "deliver")


class LeaseOfOperators(Scene):
    """An operator holds what a worker wants."""

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.a.put("one")

    def task_a(self) -> None:
        for claim in self.a.claim():
            self.send(self.a, claim)

    def task_b(self) -> None:
        for listed in self.b.queue.items("pending"):
            try:
                self.b.queue.hold(listed.item.id)
                self.b.queue.unhold(listed.item.id)
            except (KeyError, TemporaryError):
                pass


SCENES = [
    BothWant, StandsStill, StandsStillAcking, StandsStillRetrying, StandsStillFailing, StandsStillSending,
    StandsStillClaiming, TwoSweepers, PutWhileRemoved, LeaseOfOperators,
]  # fmt: skip


def schedules(make: Callable[[], Scene], switches: int) -> Iterator[Switches]:
    """Every schedule with so many switches; as many calls as a run without any makes, and some."""
    steps = make().run(()) + 5
    yield from itertools.combinations(range(steps), switches)


@pytest.fixture(autouse=True)
def collect_between_runs_only() -> Iterator[None]:
    """A descriptor that the collector closes in the middle of a run would be a file call out of turn."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def check(make: Callable[[], Scene], switches: Switches) -> int:
    """Run one schedule; how many leases were lost."""
    check.runs += 1
    if check.runs % 200 == 0:
        gc.collect()
    scene = make()
    try:
        scene.run(switches)
        reckon(scene.server, scene.ledger)
    except AssertionError as error:
        calls = "\n".join(str(c) for c in scene.server.history if not c.host.startswith("last"))
        raise AssertionError(f"switches {switches}: {error}\n{calls}") from None
    return scene.a.lost + scene.b.lost


check.runs = 0


@pytest.mark.parametrize("profile", ["local", "nfs4"])
@pytest.mark.parametrize("kind", SCENES)
def test_one_switch_anywhere(kind: Callable[[str], Scene], profile: str) -> None:
    tried = [check(lambda: kind(profile), switches) for switches in schedules(lambda: kind(profile), 1)]
    assert len(tried) > 20


@pytest.mark.parametrize("kind", [StandsStill, StandsStillSending, BothWant, StandsStillClaiming])
def test_two_switches_anywhere(kind: Callable[[str], Scene]) -> None:
    tried = [check(lambda: kind("local"), switches) for switches in schedules(lambda: kind("local"), 2)]
    print(f"{kind.__name__}: {len(tried)} schedules")
    assert len(tried) > 200


def test_a_worker_that_stood_still_is_told_so() -> None:
    """At some switch the lease is lost before the item is finished: the scene would prove nothing else."""
    lost = [
        check(lambda: StandsStill("local"), switches)
        for switches in schedules(lambda: StandsStill("local"), 1)
    ]
    assert 0 < sum(lost) < len(lost)


@pytest.mark.parametrize("hides", ["-300.", ""])
def test_who_renews_in_time_is_never_fenced(hides: str) -> None:
    """Whatever listings leave out: a name that is missing from one proves nothing."""
    server, ledger = new_server("nfs4"), Ledger()
    missing = Fault("listdir", 0, times=10**6, match="/alive", hides=hides) if hides else None
    observer = Actor(server, ledger, "observer", [missing] if missing else [])
    worker = Actor(server, ledger, "worker")
    worker.put("one")
    observer.queue.claim(0)
    [claim] = worker.claim()
    for _ in range(20):
        server.advance(LEASE / 3)
        worker.tend()
        observer.tend()
    claim.confirm()
    assert worker.end(claim, "ack") == "done"
    reckon(server, ledger)


def test_before_its_deadline_a_worker_holds_what_it_holds() -> None:
    """Whoever watches, from whenever on, and whenever the worker goes on after standing still."""
    for start, still in itertools.product(range(0, 100, 20), range(10, 400, 15)):
        server, ledger = new_server(), Ledger()
        observer, worker = Actor(server, ledger, "observer"), Actor(server, ledger, "worker")
        worker.put("one")
        observer.queue.claim(0)
        claims = worker.claim()
        server.advance(float(start))
        for _ in range(0, still, 5):
            observer.queue._opened.consumer._look_at = 0.0  # the keenest of observers
            observer.tend()
            server.advance(5.0)
        held = f"claimed/{claims[0]._lease.worker}/{claims[0].item.name}"
        if worker.host.boottime() < claims[0]._lease.deadline:
            assert any(path.endswith(held) for path in server.files()), (start, still)


def test_a_claim_that_was_refused_and_executed_late_is_given_back() -> None:
    server, ledger = new_server("nfs4"), Ledger()
    late = Fault("rename", 110, "late", match="/pending/", times=20, delay=60.0)
    worker = Actor(server, ledger, "worker", [late])
    Actor(server, ledger, "putter").put("one")
    assert worker.claim() == []
    server.advance(61.0)
    worker.host.plan.faults = ()
    assert worker.queue.stats()["claimed"] == 1, "the fault does not do what this test is about"
    server.advance(LEASE / 3)
    worker.queue.tend()
    assert worker.queue.stats()["claimed"] == 0, "it is kept for ever"
    [claim] = worker.claim()
    assert worker.end(claim, "deliver") == "done"
    reckon(server, ledger)


def test_a_dropped_claim_returns() -> None:
    server, ledger = new_server(), Ledger()
    worker = Actor(server, ledger, "worker")
    worker.put("one")
    claims = worker.claim()
    assert len(claims) == 1
    del claims[:]
    server.advance(LEASE / 3 + 1)
    worker.queue.tend()
    [again] = worker.claim()
    assert again.attempt == 1
    again.ack()
    with pytest.raises(LeaseLost):
        again.ack()


@pytest.mark.parametrize("held", [1, 40])
def test_a_heartbeat_is_one_rename_a_third_of_a_lease_whatever_is_held(held: int) -> None:
    server, ledger = new_server(), Ledger()
    worker = Actor(server, ledger, "worker")
    worker.put(*(f"m{number}" for number in range(held)))
    claims = worker.claim(held)
    assert len(claims) == held
    start = len(server.history)
    for _ in range(10 * 12):
        server.advance(LEASE / 12)
        worker.tend()
    renames = [call for call in server.history[start:] if call.kind == "rename"]
    assert len(renames) <= 31
    assert all("/alive/" in call.names for call in renames)
