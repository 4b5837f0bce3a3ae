"""A file that another removes from the spool's tmp/ between fsync and rename was not put."""

from __future__ import annotations

import errno

import pytest

from maildir_safe.testing.simdisk import ROOT
from maildir_safe.testing.simfs import Fault
from maildir_safe.testing.simserver import Call
from tests.model.queue_world import SPOOL, Actor, Ledger, delivered, new_server, reckon


@pytest.mark.parametrize("tokens", [("one",), ("one", "two")])
@pytest.mark.parametrize("profile", ["local", "nfs4"])
def test_what_another_removed_from_tmp_is_not_accepted(profile: str, tokens: tuple[str, ...]) -> None:
    server, ledger = new_server(profile), Ledger()
    actor = Actor(server, ledger)

    def janitor(call: Call) -> None:
        if call.kind in ("fsync", "close") and f"{SPOOL}/tmp/" in call.names:
            server.after_call = None
            disk = server.disk
            tmp = disk.lookup(disk.lookup(ROOT, "spool").ino, "tmp").ino
            disk.unlink(tmp, call.names.rpartition("/")[2])
            server.version += 1

    server.after_call = janitor
    actor.put(*tokens)
    accepted = [token for token, entry in ledger.entries.items() if entry.put == "accepted"]
    assert len(accepted) == len(tokens) - 1
    reckon(server, ledger)
    assert sorted(delivered(server)) == accepted


def test_an_item_that_a_worker_claimed_before_the_lost_reply_was_understood_was_put() -> None:
    """The same look, tmp/ and the bucket empty, when all is well: claimed/ tells."""
    server, ledger = new_server("local"), Ledger()
    actor = Actor(server, ledger, faults=[Fault("rename", errno.EIO, "done", match="/pending/")])
    other = Actor(server, Ledger(), "b")
    got = []

    def claims(call: Call) -> None:
        if "fault: done" in call.outcome:
            server.after_call = None
            got.extend(other.claim(1))

    server.after_call = claims
    actor.put("one")
    assert len(got) == 1
    assert ledger.entries["one"].put == "accepted"
