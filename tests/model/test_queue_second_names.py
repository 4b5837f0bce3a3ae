"""Items that have a second name, as GlusterFS's healing leaves them: delivered once, and nothing is stuck.

rename() from one name of a file to another name of the same file succeeds and does nothing (POSIX).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from maildir_safe import Claim
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simdisk import ROOT
from maildir_safe.testing.simfs import Fault, SimHost, SimServer
from tests.model.queue_world import LEASE, MAIL, SPOOL, Actor, Ledger, delivered, new_server, reckon

PROFILES = ["local", "gluster", "nfs4"]


def directory(server: SimServer, path: str) -> int:
    ino = ROOT
    for part in path.strip("/").split("/"):
        ino = server.disk.lookup(ino, part).ino
    return ino


def heal(server: SimServer, path: str, to: str) -> None:
    """Give the file at `path` the second name `to`."""
    (src_dir, _, src), (dst_dir, _, dst) = path.rpartition("/"), to.rpartition("/")
    server.disk.link(directory(server, src_dir), src, directory(server, dst_dir), dst)
    server.disk.sync_all()
    server.version += 1


def claimed(server: SimServer) -> list[str]:
    return [path for path in server.files() if path.startswith(f"{SPOOL}/claimed/")]


def claimed_second_name(profile: str) -> tuple[SimServer, Ledger, Actor, Claim]:
    """One item, claimed; its file has a second name in new/, as if it had been delivered."""
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger)
    actor.put("one")
    [claim] = actor.claim()
    [held] = claimed(server)
    heal(server, held, f"{MAIL}/new/{claim.item.maildir_name}")
    return server, ledger, actor, claim


def works_for(actor: Actor, server: SimServer, minutes: int) -> Iterator[str]:
    """The worker works on; what it says of each claim."""
    for _ in range(minutes):
        for claim in actor.claim(10):
            yield actor.end(claim, "deliver")
        server.advance(60.0)
        actor.tend()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_claimed_item_that_is_a_second_name_of_the_message_in_new(profile: str) -> None:
    """The worker says "delivered" once, and the item is gone: not every eleven seconds for ever."""
    server, ledger, actor, claim = claimed_second_name(profile)
    assert actor.end(claim, "deliver") == "done"
    assert not claimed(server), "the rename did nothing, and the item is still claimed"
    assert list(works_for(actor, server, 10)) == []
    reckon(server, ledger)


@pytest.mark.parametrize("profile", PROFILES)
def test_nor_is_it_delivered_again_once_a_reader_has_moved_the_first(profile: str) -> None:
    server, ledger, actor, claim = claimed_second_name(profile)
    actor.end(claim, "deliver")
    for message in list(actor.maildir.messages()):
        actor.maildir.set_flags(message.key, "S")
    for _ in works_for(actor, server, 10):
        pass
    assert delivered(server) == {"one": 1}
    reckon(server, ledger)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_crash_does_not_bring_the_second_name_back(profile: str) -> None:
    """Once it was delivered and removed by its reader, it would be delivered again."""
    server, _, actor, claim = claimed_second_name(profile)
    assert actor.end(claim, "deliver") == "done"
    outcomes = list(server.disk.choices())
    assert outcomes
    assert [path for choice in outcomes for path in claimed(server.crashed(choice))] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_an_item_whose_old_name_in_pending_came_back_after_it_was_claimed(profile: str) -> None:
    """Two workers hold one file by two names: the Maildir's name is one for both, and is made once."""
    server, ledger = new_server(profile), Ledger()
    a, b = Actor(server, ledger, "a"), Actor(server, ledger, "b")
    a.put("one")
    [pending] = [path for path in server.files() if path.startswith(f"{SPOOL}/pending/")]
    [first] = a.claim()
    [held] = claimed(server)
    heal(server, held, pending)
    second = b.claim()
    assert a.end(first, "deliver") == "done"
    for claim in second:
        b.end(claim, "deliver")
    for actor in (a, b):
        for _ in works_for(actor, server, 10):
            pass
    assert delivered(server) == {"one": 1}
    reckon(server, ledger)


@pytest.mark.parametrize("error", [0, errno.EIO, errno.ENOENT, errno.ESTALE])
@pytest.mark.parametrize("where", [" -> /mail/new/", "/pending/", " -> /spool/claimed/", "/alive/"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_rename_that_leaves_both_names(profile: str, where: str, error: int) -> None:
    """By any rename of a worker's life, answered or not; a claim or a delivery is what it says it is."""
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger, "a", [Fault("rename", error, "both", match=where)])  # type: ignore[arg-type]
    actor.put("one", "two")
    for claim in actor.claim_surely(2):
        actor.end(claim, "deliver")
    actor.host.sleep(LEASE / 2)
    actor.tend()
    for _ in works_for(actor, server, 10):
        pass
    assert actor.host.plan.hits
    assert delivered(server) == {"one": 1, "two": 1}
    reckon(server, ledger)


def relay(actor: Actor, minutes: int = 1) -> list[str]:
    """Relay as a courier does, which opens the message before it sends it; what was sent, in order."""
    sent: list[str] = []
    for _ in range(minutes):
        for claim in actor.claim(10):
            try:
                sent.append(claim.read().partition(b"\n")[0].decode())
                claim.ack()
            except TemporaryError:
                claim.let_go()
        actor.server.advance(60.0)
        actor.tend()
    return sent


def in_queue(server: SimServer) -> list[str]:
    parts = tuple(f"{SPOOL}/{part}/" for part in ("pending", "claimed", "failed", "corrupt"))
    return [path for path in server.files() if path.startswith(parts)]


@pytest.mark.parametrize("profile", PROFILES)
def test_an_item_whose_old_name_in_pending_stayed_is_relayed_once_and_leaves_nothing(profile: str) -> None:
    """The claim's rename succeeds, and the old name is still there."""
    server, ledger = new_server(profile), Ledger()
    both = Fault("rename", 0, "both", match=" -> /spool/claimed/")
    actor = Actor(server, ledger, "a", [both])
    actor.put("one", "two")
    assert sorted(relay(actor, 10)) == ["Subject: one", "Subject: two"]
    assert actor.host.plan.hits
    assert in_queue(server) == []


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("profile", PROFILES)
def test_two_workers_that_hold_one_item_by_two_names_relay_it_once(profile: str, first: str) -> None:
    server, ledger = new_server(profile), Ledger()
    actors = {"a": Actor(server, ledger, "a"), "b": Actor(server, ledger, "b")}
    actors["a"].put("one")
    [pending] = in_queue(server)
    claims = {"a": actors["a"].claim()}
    heal(server, claimed(server)[0], pending)
    claims["b"] = actors["b"].claim()
    assert len(claimed(server)) == 2
    sent = 0
    for name in sorted(claims, reverse=first == "b"):
        for claim in claims[name]:
            try:
                claim.read()
                claim.ack()
                sent += 1
            except TemporaryError:
                claim.let_go()
    for actor in actors.values():
        sent += len(relay(actor, 10))
    assert sent == 1
    assert in_queue(server) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_an_item_that_waits_in_a_wide_bucket_is_moved_on_by_one_name(profile: str) -> None:
    """An item that is not due yet is claimed only to be moved, and is not opened."""
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger, "a", [Fault("rename", 0, "both", match=" -> /spool/claimed/")])
    actor.put("one", not_before=actor.host.time_ns() / 1e9 + 3 * 86400.0 + 7200.0)
    sent: list[str] = []
    for _ in range(200):
        server.advance(1800.0)
        sent += relay(actor)
    assert actor.host.plan.hits
    assert sent == ["Subject: one"]
    assert in_queue(server) == []


def test_a_name_that_cannot_be_looked_for_defers_the_item() -> None:
    server, ledger = new_server(), Ledger()
    actor = Actor(server, ledger, "a", [Fault("rename", 0, "both", match=" -> /spool/claimed/")])
    actor.put("one")
    [claim] = actor.claim()
    actor.host.plan.faults += (Fault("unlink", errno.EIO, times=3, match="/pending/"),)
    with pytest.raises(TemporaryError):
        claim.read()
    assert len(in_queue(server)) == 2
    assert claim.read()
    claim.ack()
    assert in_queue(server) == []


def a_swept_worker_comes_back(server: SimServer, ledger: Ledger) -> tuple[Actor, str]:
    """A worker dies, another delivers its item, and healing brings its directory back with a second name."""
    dead, living = Actor(server, ledger, "a"), Actor(server, ledger, "b")
    dead.put("one")
    [claim] = dead.claim()
    worker = claim._lease.worker
    assert "done" in works_for(living, server, 3 * LEASE // 60)
    assert delivered(server) == {"one": 1}
    healer = SimHost(server, "healer")
    healer.mkdir(worker, healer.open_dir(f"{SPOOL}/claimed"))
    [there] = [path for path in server.files() if path.startswith(MAIL)]
    heal(server, there, f"{SPOOL}/claimed/{worker}/{claim.item.name}")
    return living, worker


@pytest.mark.parametrize("profile", PROFILES)
def test_a_swept_workers_directory_that_comes_back_is_swept_again(profile: str) -> None:
    """Nobody looked at a directory with neither a heartbeat nor a marker: its item stayed for ever."""
    server, ledger = new_server(profile), Ledger()
    living, _ = a_swept_worker_comes_back(server, ledger)
    assert claimed(server)
    list(works_for(living, server, 12 * LEASE // 60))
    assert not claimed(server)
    assert delivered(server) == {"one": 1}
    reckon(server, ledger)


def test_a_worker_whose_heartbeat_some_listings_omit_is_not_abandoned() -> None:
    server, ledger = new_server("local"), Ledger()
    holder = Actor(server, ledger, "a")
    holder.put("one")
    [claim] = holder.claim()
    omitted = [Fault("listdir", 0, nth=nth, match="/alive", hides="a-", quiet=True) for nth in range(1, 9)]
    other = Actor(server, ledger, "b", faults=omitted)
    for _ in range(3 * 40):
        server.advance(LEASE / 3)
        holder.tend()
        other.tend()
    assert other.host.plan.hits
    assert holder.end(claim, "deliver") == "done"


def test_a_directory_without_a_heartbeat_is_not_swept_before_ten_leases() -> None:
    """Its worker may just have made it: the heartbeat comes after it."""
    server, ledger = new_server("local"), Ledger()
    living, worker = a_swept_worker_comes_back(server, ledger)
    list(works_for(living, server, 9 * LEASE // 60))
    assert [path for path in claimed(server) if worker in path]
