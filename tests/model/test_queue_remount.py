"""The spool's mount is taken away, or made anew, under a queue that is in use.

Descriptors go on to what is detached: what is put there nobody will ever find. So nothing is accepted
into it, and as soon as the path leads to a spool again, the queue works on.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfs import SimServer
from tests.model.queue_world import SPOOL, Actor, Ledger, delivered, new_server, reckon

PAUSE = 15.0  # longer than any time for which a path may be taken to be what it was


def accepted_and_found(server: SimServer, ledger: Ledger) -> None:
    """Every accepted item is in the spool that the path leads to."""
    spool = b"\0".join(data for path, data in server.files().items() if path.startswith(SPOOL))
    for token, entry in ledger.entries.items():
        if entry.put == "accepted" and not entry.end:
            assert f"Subject: {token}\n".encode() in spool, f"{token} was accepted, and nobody will find it"


@pytest.mark.parametrize("profile", ["local", "nfs4", "gluster"])
@pytest.mark.parametrize("how", ["one by one", "many"])
def test_what_is_put_after_a_remount_is_where_the_path_leads(profile: str, how: str) -> None:
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger)
    actor.put("one")
    server.remount(SPOOL)
    server.advance(PAUSE)
    for tokens in (["two", "three"] if how == "many" else ["two"], ["four"]):
        actor.put(*tokens)
    accepted_and_found(server, ledger)
    assert ledger.entries["four"].put == "accepted", "it never recovers"
    actor.queue.close()
    reckon(server, ledger)


def test_nothing_is_accepted_while_the_path_leads_to_an_empty_directory() -> None:
    """``umount -l``: what is accepted now would go into the file system that is being taken away."""
    server, ledger = new_server("local"), Ledger()
    actor = Actor(server, ledger)
    actor.put("one")
    server.remount(SPOOL, empty=True)
    server.advance(PAUSE)
    for token in ("two", "three"):
        actor.put(token)
        assert ledger.entries[token].put != "accepted"
    assert not [path for path in server.files() if path.startswith(SPOOL)]


def test_a_put_in_the_middle_of_a_busy_minute_is_found_too() -> None:
    """No pause: puts come every second, and the mount is made anew between two of them."""
    server, ledger = new_server("nfs4"), Ledger()
    actor = Actor(server, ledger)
    for number in range(60):
        if number == 30:
            server.remount(SPOOL)
        actor.put(f"m{number}")
        server.advance(1.0)
    late = [f"m{number}" for number in range(45, 60)]
    lost = [token for token in late if ledger.entries[token].put != "accepted"]
    assert not lost, "fifteen seconds later it has not recovered"
    spool = b"\0".join(data for path, data in server.files().items() if path.startswith(SPOOL))
    assert all(f"Subject: {token}\n".encode() in spool for token in late)


@pytest.mark.parametrize("profile", ["local", "nfs4"])
def test_a_worker_claims_what_is_where_the_path_leads(profile: str) -> None:
    server, ledger = new_server(profile), Ledger()
    worker, putter = Actor(server, ledger, "a"), Actor(server, ledger, "b")
    worker.put("one")
    for claim in worker.claim():
        worker.end(claim, "deliver")
    server.remount(SPOOL)
    server.advance(PAUSE)
    putter.put("two")
    for _ in range(10):
        for claim in worker.claim(5):
            worker.end(claim, "deliver")
        worker.tend()
        server.advance(PAUSE)
    assert delivered(server) == {"one": 1, "two": 1}, "the worker never recovers"


def test_a_claim_from_before_the_remount_is_delivered_once() -> None:
    """Held when the mount was made anew: whatever the answer is, there is one copy in the end."""
    server, ledger = new_server("local"), Ledger()
    worker = Actor(server, ledger)
    worker.put("one")
    held = worker.claim()
    server.remount(SPOOL)
    server.advance(PAUSE)
    for claim in held:
        worker.end(claim, "deliver")
    with suppress(TemporaryError):
        worker.queue.close()
    reckon(server, ledger)
