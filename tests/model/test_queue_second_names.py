"""Items that have a second name, as GlusterFS's healing leaves them: delivered once, and nothing is stuck.

rename() from one name of a file to another name of the same file succeeds and does nothing (POSIX).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from maildir_safe.testing.simdisk import ROOT
from maildir_safe.testing.simfs import Fault, SimServer
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
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger)
    actor.put("one")
    [claim] = actor.claim()
    [held] = claimed(server)
    heal(server, held, f"{MAIL}/new/{claim.item.maildir_name}")
    assert actor.end(claim, "deliver") == "done"
    assert not claimed(server), "the rename did nothing, and the item is still claimed"
    assert list(works_for(actor, server, 10)) == []
    reckon(server, ledger)


@pytest.mark.parametrize("profile", PROFILES)
def test_nor_is_it_delivered_again_once_a_reader_has_moved_the_first(profile: str) -> None:
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger)
    actor.put("one")
    [claim] = actor.claim()
    [held] = claimed(server)
    heal(server, held, f"{MAIL}/new/{claim.item.maildir_name}")
    actor.end(claim, "deliver")
    for message in list(actor.maildir.messages()):
        actor.maildir.set_flags(message.key, "S")
    for _ in works_for(actor, server, 10):
        pass
    assert delivered(server) == {"one": 1}
    reckon(server, ledger)


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
