"""Every fault at every file call of a worker's life, on several kinds of file systems.

Whatever went wrong: once the faults have stopped, every message that was accepted is in the
Maildir exactly once, what was acknowledged or given up is nowhere else, and nothing is stuck.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

import pytest

from maildir_safe.testing.simfs import Fault, SimServer
from maildir_safe.testing.simserver import Call
from tests.model.queue_world import LEASE, Actor, Ledger, faults_of, new_server, reckon

History = Callable[[Actor], None]


def one_of_each(actor: Actor) -> None:
    """Put three one by one, and end each claim another way."""
    actor.put("one")
    actor.put("two")
    actor.put("three")
    for how in ("ack", "deliver", "fail"):
        for claim in actor.claim_surely():
            actor.end(claim, how)
    actor.put("four")  # so that there are crashes after the last answer


def copy(actor: Actor) -> None:
    """Deliver into a Maildir that is on another file system."""
    elsewhere = Fault("rename", errno.EXDEV, times=10**6, match=",o -> /mail/new/")
    actor.host.plan.faults = (*actor.host.plan.faults, elsewhere)
    actor.put("one")
    actor.put("two")
    for claim in actor.claim_surely(2):
        actor.end(claim, "deliver")


def deliver_and_retry(actor: Actor) -> None:
    """A batch; one is delivered, one retried and then delivered, one released."""
    actor.put("one", "two", "three")
    for claim, how in zip(actor.claim_surely(3), ("deliver", "retry", "release"), strict=False):
        actor.end(claim, how)
    actor.host.sleep(130.0)
    for claim in actor.claim_surely(2):
        actor.end(claim, "deliver")


def put_for_later(actor: Actor) -> None:
    """In two hours: into an hour's bucket, filed again when that begins, and then claimed."""
    due = actor.host.time_ns() // 10**9 + 7000
    actor.put("later", not_before=due)
    actor.put("latest", not_before=due + 60 * 60 * 24 * 3)
    assert actor.claim() == []
    actor.host.sleep(due - actor.host.time_ns() / 1e9 - 1800.0)
    for _ in range(3):
        assert actor.claim(2) == [], "it is claimed before it is due"
        actor.host.sleep(10.0)
    actor.host.sleep(1800.0)
    for claim in actor.claim_surely():
        actor.end(claim, "deliver")


def renew_and_leave(actor: Actor) -> None:
    """Hold a claim through three renewals, then leave with another one in hand."""
    actor.put("one")
    actor.put("two")
    held = actor.claim_surely(2)
    for _ in range(3):
        actor.host.sleep(LEASE / 3)
        actor.tend()
    for claim in held[:1]:
        actor.end(claim, "deliver")
    actor.queue.close()


def stay_away_and_return(actor: Actor) -> None:
    """Stand still for longer than a lease, beside an observer, and then go on."""
    actor.put("one")
    actor.put("two")
    held = actor.claim_surely(2)
    observer = Actor(actor.server, actor.ledger, "observer")
    observer.tend()
    actor.server.advance(LEASE + 1.0)
    observer.tend()
    for claim, how in zip(held, ("deliver", "release"), strict=False):
        actor.end(claim, how)


def sweep_another(actor: Actor) -> None:
    """Take over from a worker that died with two items in hand."""
    dead = Actor(actor.server, actor.ledger, "dead")
    dead.put("one", "two")
    dead.claim(2)
    dead.host.dead = True
    actor.tend()
    actor.server.advance(LEASE + 1.0)
    actor.tend()
    for claim in actor.claim_surely(2):
        actor.end(claim, "deliver")


HISTORIES = [
    one_of_each,
    copy,
    put_for_later,
    deliver_and_retry,
    renew_and_leave,
    stay_away_and_return,
    sweep_another,
]
STANDS_STILL = [stay_away_and_return]
PAIRS = 250
PROFILES = ["local", "nfs4", "gluster"]


def run(history: History, profile: str, *faults: Fault) -> tuple[SimServer, Actor]:
    server = new_server(profile)
    actor = Actor(server, Ledger(), "a", faults)
    history(actor)
    return server, actor


@pytest.mark.parametrize("profile", ["local", "nfs3", "nfs4", "afs", "smb", "gluster", "vfat"])
@pytest.mark.parametrize("history", HISTORIES)
def test_without_faults(history: History, profile: str) -> None:
    server, actor = run(history, profile)
    reckon(server, actor.ledger)
    assert all(entry.put == "accepted" for entry in actor.ledger.entries.values())
    assert not [entry for entry in actor.ledger.entries.values() if entry.end.endswith("?")] or actor.lost


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("history", HISTORIES)
def test_every_single_fault(history: History, profile: str) -> None:
    server, _ = run(history, profile)
    faults = list(faults_of(server, "a"))
    struck = sum(survives(history, profile, fault) for fault in faults)
    assert struck == len(faults)
    print(f"{history.__name__} on {profile}: {len(faults)} faults")


@pytest.mark.parametrize("history", HISTORIES)
def test_two_faults(history: History) -> None:
    """A sample of all pairs, from a fixed seed; the first may keep the second from happening."""
    server, _ = run(history, "nfs4")
    faults, chance = list(faults_of(server, "a")), random.Random(1)
    both = sum(survives(history, "nfs4", *chance.sample(faults, 2)) == 2 for _ in range(PAIRS))
    assert both > PAIRS / 4
    print(f"{history.__name__}: {PAIRS} pairs, in {both} of them both struck")


def survives(history: History, profile: str, *faults: Fault) -> int:
    """Run with these faults and reckon; how many struck."""
    server, actor = run(history, profile, *faults)
    try:
        assert history in STANDS_STILL or not actor.lost, "told that it was fenced, and never was"
        reckon(server, actor.ledger)
    except AssertionError as error:
        calls = "\n".join(map(str, server.history[-400:]))
        raise AssertionError(f"{', '.join(map(str, faults))}: {error}\n{calls}") from None
    return len({str(fault) for fault in actor.host.plan.hits} & {str(fault) for fault in faults})


@pytest.mark.parametrize(("how", "status"), [("fail", "done"), ("ack", "lost"), ("deliver", "lost")])
@pytest.mark.parametrize("profile", ["nfs4", "gluster"])
def test_done_then_fenced_before_the_reply_was_understood(profile: str, how: str, status: str) -> None:
    """The call is executed, its reply lost, and the worker stands still past its lease before it looks."""
    kind, names = (
        ("unlink", "/claimed/") if how == "ack" else ("rename", "/new/" if how == "deliver" else "/failed/")
    )
    server, ledger = new_server(profile), Ledger()
    lost = Fault(kind, errno.ESTALE, "done", match=names)  # type: ignore[arg-type]
    slow, other = Actor(server, ledger, "a", [lost]), Actor(server, ledger, "b")
    slow.put("one")
    [claim] = slow.claim()
    other.tend()

    def fence(call: Call) -> None:
        if "fault: done" in call.outcome:
            server.after_call = None
            server.advance(LEASE * 1.2)
            other.tend()

    server.after_call = fence
    assert slow.end(claim, how) == status
    reckon(server, ledger)
