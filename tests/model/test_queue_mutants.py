"""Deliberately broken queues, each caught by a check that the real one passes.

A check that no mutant can fail is no check. Where a mutant would be harmless for a Maildir (which
is safe by path alone), the check has a courier that sends things away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._queue.store.item import Item
from maildir_safe._queue.store.lease import Lease, lease_seconds
from maildir_safe._queue.store.lease_monitor import LeaseMonitor, _heartbeats
from maildir_safe._queue.store.spool import Spool
from maildir_safe._queue.store.sweeper import Sweeper
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import LeaseLost
from maildir_safe.testing.simfs import Fault
from tests.model import (
    test_queue_bounces as bounces,
    test_queue_crash as crash,
    test_queue_faults as faults,
    test_queue_hosts as hosts,
)
from tests.model.queue_mutants_faults import FAULT_MUTANTS
from tests.model.queue_world import LEASE, Actor, Ledger, new_server, reckon
from tests.model.test_queue_hosts import Scene, StandsStill

PAGE = Path(__file__).parents[2] / "docs/development/mutants.md"

pytestmark = pytest.mark.usefixtures("collect_between_runs_only")
collect_between_runs_only = hosts.collect_between_runs_only

# -- checks ---------------------------------------------------------------------------------


def crashes(history: faults.History) -> None:
    crash.check(history, "atomic")


def one_switch(kind: Callable[[str], Scene]) -> None:
    for switches in hosts.schedules(lambda: kind("local"), 1):
        hosts.check(lambda: kind("local"), switches)


class Sending(hosts.BothWant):
    """Two workers send the same items away; one of them is told, wrongly, that its claim failed."""

    checks_holder = False

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.a.host.plan.faults = (Fault("rename", 5, "none", match="/pending/"),)

    def work(self, actor: Actor) -> None:
        for claim in actor.claim(2):
            self.send(actor, claim)

    def run(self, switches: hosts.Switches) -> int:
        steps = super().run(switches)
        tokens = [token for _, token in self.sent]
        assert len(tokens) == len(set(tokens)), f"sent twice, and no lease was lost: {self.sent}"
        return steps


class AckAfterSweep(StandsStill):
    """Who stood still says that its item is done; the other only sweeps."""

    how = "ack"

    def task_b(self) -> None:
        for _ in range(9):
            self.b.tend()
            self.server.advance(LEASE / 4)


def renewing_in_time() -> None:
    hosts.test_who_renews_in_time_is_never_fenced("-300.")


def lost_replies() -> None:
    """A reply that is lost is no lost lease."""
    for kind, error in (("unlink", 2), ("unlink", 5), ("rename", 2), ("rename", 5)):
        for nth in range(1, 10):
            fault = Fault(kind, error, "done", nth=nth, match="/claimed/")  # type: ignore[arg-type]
            server, actor = faults.run(faults.one_of_each, "nfs4", fault)
            assert not actor.lost, "LeaseLost, though nobody had fenced it"
            reckon(server, actor.ledger)


def release_executed_late() -> None:
    """A release is refused, repeated, and executed once more when the item is back in the same hands."""
    server, ledger = new_server("nfs4"), Ledger()
    late = Fault("rename", 110, "late", match="/claimed/", times=8, delay=100.0)
    worker = Actor(server, ledger, "worker")
    worker.put("one")
    [claim] = worker.claim()
    worker.host.plan.faults = (late,)
    assert worker.end(claim, "release") in ("failed", "unknown")
    worker.host.plan.faults = ()
    assert worker.end(claim, "release") == "done"
    [again] = worker.claim()
    server.advance(99.0)
    again.confirm()
    held = f"claimed/{again._lease.worker}/{again.item.name}"
    assert any(path.endswith(held) for path in server.files()), "it is sent by who does not hold it"
    assert worker.end(again, "ack") == "done"
    reckon(server, ledger)


def test_the_checks_pass_without_a_mutant() -> None:
    for mutant in MUTANTS:
        mutant.check()


# -- mutants --------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def shared_claim_target(patch: Patch) -> None:
    original = Lease._register

    def register(self: Lease) -> None:
        original(self)
        close_quietly(self._fs, self.dir_fd)
        self.dir_fd = self._fs.open_dir(f"{self._layout.path}/claimed")

    patch.setattr(Lease, "_register", register)
    patch.setattr(Spool, "tidy", lambda *_: None)


def no_fencing(patch: Patch) -> None:
    """Who is dead is swept, but its heartbeat is left to it."""
    patch.setattr(LeaseMonitor, "_fence", _mark)


def no_confirmation(patch: Patch) -> None:
    patch.setattr(Lease, "confirm", lambda _: None)


def absent_heartbeat_is_death(patch: Patch) -> None:
    original = LeaseMonitor.look

    def look(self: LeaseMonitor, myself: str) -> None:
        original(self, myself)
        alive = _heartbeats(self._fs.listdir(self._layout.fd["alive"]))
        for worker in self._fs.listdir(self._layout.fd["claimed"]):
            if worker not in alive and worker != myself:
                _mark(self, worker, 0)

    patch.setattr(LeaseMonitor, "look", look)


def marker_goes_first(patch: Patch) -> None:
    """The fence marker lies in claimed/<W>, and so has to go before the directory can."""
    original = Sweeper._empty

    def empty(self: Sweeper, worker: str, dir_fd: int) -> int:
        self._fs.unlink(worker, dir_fd=self._layout.fd["fenced"])
        return original(self, worker, dir_fd)

    patch.setattr(Sweeper, "_empty", empty)


def absent_item_is_done(patch: Patch) -> None:
    patch.setattr(Spool, "_was_mine", lambda *_: True)


def absent_item_is_lost(patch: Patch) -> None:
    def was_mine(*_: object) -> bool:
        raise LeaseLost("it is not there")

    patch.setattr(Spool, "_was_mine", was_mine)


def gen_not_raised(patch: Patch) -> None:
    original = Item.returned

    def returned(self: Item, *args: object, **more: object) -> Item:
        after = original(self, *args, **more)  # type: ignore[arg-type]
        return Item(after.id, after.size, self.gen, after.tries, after.not_before, after.states)

    patch.setattr(Item, "returned", returned)


def gen_in_the_maildir(patch: Patch) -> None:
    patch.setattr(Item, "maildir_name", property(lambda self: f"{self.id}g{self.gen},S={self.size}"))
    original = Item.__init__

    def init(self: Item, *args: Any) -> None:
        original(self, *args)
        self.name = f"{self.id},S={self.size},g{self.gen},t{self.tries},n{self.not_before},{self.states}"

    patch.setattr(Item, "__init__", init)


def never_synced(part: str, patch: Patch) -> None:
    """One directory, by the beginning of its path from the spool on, is never fsynced."""
    original = DirectorySync.sync

    def sync(self: DirectorySync) -> bool:
        path = self._fs._handle(self._dir_fd).path.removeprefix("/spool/")  # type: ignore[attr-defined]
        depth = path.count("/")
        skipped = path.startswith(part.rstrip("/")) and depth == int(part.endswith("/"))
        return True if skipped else original(self)

    patch.setattr(DirectorySync, "sync", sync)


def fenced_too_early(patch: Patch) -> None:
    patch.setattr(
        "maildir_safe._queue.store.lease_monitor.lease_seconds", lambda worker: lease_seconds(worker) / 2
    )


def late_claims_stay(patch: Patch) -> None:
    patch.setattr(Spool, "tidy", lambda *_: None)


def _mark(self: LeaseMonitor, worker: str, n: int) -> None:  # noqa: ARG001
    try:
        self._fs.close(self._fs.create(worker, self._layout.fd["fenced"]))
    except OSError:
        pass


class Mutant(NamedTuple):
    """A way to break the queue, and the check that fails then, saying what matches `says`."""

    name: str
    breaks: Callable[[Patch], None]
    check: Callable[[], None]
    shows: str
    says: str


def _told_too_early(patch: Patch) -> None:
    patch.setattr(Worker, "_send_bounce", bounces.b_before_the_bounce)


TWICE, LOST = "two hold one item, and both send it away", "an accepted message is lost"
AGAIN, STUCK = "what was reported done comes again", "an item stays claimed for ever"
HELD_BY_TWO, ONCE_MORE, NO_COPY = "which it does not hold", r"1 copies.*(acked|given up)", "0 copies"

MUTANTS = [
    Mutant("shared claim target", shared_claim_target, partial(one_switch, Sending), TWICE, "sent twice"),
    Mutant("no fencing", no_fencing, partial(one_switch, hosts.StandsStillSending), TWICE, HELD_BY_TWO),
    Mutant(
        "act after the deadline without renewing",
        no_confirmation,
        partial(one_switch, hosts.StandsStillSending),
        TWICE,
        HELD_BY_TWO,
    ),
    Mutant(
        "absent heartbeat taken for death",
        absent_heartbeat_is_death,
        renewing_in_time,
        "who renewed in time is swept",
        "unread",
    ),
    Mutant(
        "fence marker inside claimed/<W>",
        marker_goes_first,
        partial(crashes, faults.sweep_another),
        STUCK,
        "a claim is stuck",
    ),
    Mutant(
        "ENOENT at ack taken for done",
        absent_item_is_done,
        partial(one_switch, AckAfterSweep),
        AGAIN,
        ONCE_MORE,
    ),
    Mutant(
        "ENOENT at ack taken for lost",
        absent_item_is_lost,
        lost_replies,
        "`LeaseLost` where none was lost",
        "nobody had fenced",
    ),
    Mutant(
        "bucket not fsynced",
        partial(never_synced, "pending/"),
        partial(crashes, faults.one_of_each),
        LOST,
        NO_COPY,
    ),
    Mutant(
        "pending/ not fsynced",
        partial(never_synced, "pending"),
        partial(crashes, faults.one_of_each),
        LOST,
        NO_COPY,
    ),
    Mutant(
        "claimed/ not fsynced",
        partial(never_synced, "claimed"),
        partial(crashes, faults.one_of_each),
        LOST,
        NO_COPY,
    ),
    Mutant(
        "claimed/<W> not fsynced",
        partial(never_synced, "claimed/"),
        partial(crashes, faults.one_of_each),
        AGAIN,
        ONCE_MORE,
    ),
    Mutant(
        "alive/ not fsynced",
        partial(never_synced, "alive"),
        partial(crashes, faults.deliver_and_retry),
        STUCK,
        "a claim is stuck",
    ),
    Mutant(
        "failed/ not fsynced",
        partial(never_synced, "failed"),
        partial(crashes, faults.one_of_each),
        LOST,
        "0 copies, 0 failed",
    ),
    Mutant(
        "failed/<part> not fsynced",
        partial(never_synced, "failed/"),
        partial(crashes, faults.one_of_each),
        AGAIN,
        ONCE_MORE,
    ),
    Mutant("gen not raised", gen_not_raised, release_executed_late, TWICE, "who does not hold it"),
    Mutant(
        "gen in the Maildir's name",
        gen_in_the_maildir,
        partial(crashes, faults.copy),
        "two copies in the Maildir",
        "2 copies",
    ),
    Mutant(
        "fenced after half a lease",
        fenced_too_early,
        hosts.test_before_its_deadline_a_worker_holds_what_it_holds,
        "an item is taken from who still may act",
        r"\(0, \d+\)",
    ),
    Mutant(
        "claims executed late are kept",
        late_claims_stay,
        hosts.test_a_claim_that_was_refused_and_executed_late_is_given_back,
        STUCK,
        "kept for ever",
    ),
    Mutant(
        "`b` written before the bounce is handed over",
        _told_too_early,
        bounces.test_a_crash_anywhere,
        "a sender is never told",
        "never told",
    ),
]
MUTANTS += [Mutant(*mutant) for mutant in FAULT_MUTANTS]


def table() -> str:
    """The mutants and what kills them, as a table for docs/development/mutants.md."""
    rows = [f"| {m.name} | `{_scenario(m.check)}` | {m.shows} |" for m in MUTANTS]
    return "\n".join(["| mutant of the queue | killed by | what goes wrong |", "|---|---|---|", *rows])


def _scenario(check: Callable[[], None]) -> str:
    name = getattr(check, "__name__", "")
    if isinstance(check, partial):
        name = getattr(check.args[0], "__name__", check.func.__name__)
    return str(name).removeprefix("test_")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: Patch) -> None:
    mutant.breaks(monkeypatch)
    with pytest.raises(AssertionError, match=mutant.says):
        mutant.check()


def test_the_published_table_is_current(record_property: Callable[[str, object], None]) -> None:
    assert table() in PAGE.read_text(), "docs/development/mutants.md is old: paste what `table()` gives"
    record_property(
        "note", f"mutants of the queue: {len(MUTANTS)} of {len(MUTANTS)} killed (docs/development/mutants.md)"
    )
