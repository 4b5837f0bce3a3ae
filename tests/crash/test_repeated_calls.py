"""Calls that kernel and Python repeat by themselves, and calls that are executed after they were refused.

A create that was answered ESTALE or EINTR is repeated under the same name before anybody hears of it.
If the first is executed late, the name is there again after its file was renamed into view: an empty
file, which a late rename would put in the place of the published message.
"""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from maildir_safe.testing import simhistories as histories
from maildir_safe.testing.explore import Explorer, History
from maildir_safe.testing.simfs import Fault
from maildir_safe.testing.simworld import World
from tests.model.queue_world import Actor, Ledger, delivered, new_server, reckon

NETWORK = ["nfs3", "nfs4", "gluster", "smb"]


def created_late(error: int, delay: float) -> Fault:
    return Fault("create", error, "late", delay=delay)


def renamed_late(delay: float, times: int = 1) -> Fault:
    return Fault("rename", errno.EIO, "late", delay=delay, times=times)


@pytest.mark.parametrize("profile", ["local", *NETWORK])
@pytest.mark.parametrize("error", [errno.ESTALE, errno.EINTR])
@pytest.mark.parametrize("history", [histories.deliver_one, histories.deliver_again])
def test_a_late_create_and_a_late_rename_leave_the_published_message(
    history: History, error: int, profile: str
) -> None:
    world = Explorer(history, profile, crash=False).run(created_late(error, 3.0), renamed_late(4.0))
    assert world.ledger.entries["one"].acked
    assert len(world.host("a").plan.hits) >= 2


@pytest.mark.parametrize("profile", ["local", *NETWORK])
@pytest.mark.parametrize("error", [errno.ESTALE, errno.EINTR])
@pytest.mark.parametrize("nth", [1, 2])
def test_nor_is_a_message_of_a_group_emptied(nth: int, error: int, profile: str) -> None:
    late = replace(created_late(error, 3.0), nth=nth), replace(renamed_late(4.0), nth=nth)
    world = Explorer(histories.deliver_batch, profile, crash=False).run(*late)
    assert {entry.acked for entry in world.ledger.entries.values()} == {True}
    assert len(world.host("a").plan.hits) >= 2


@pytest.mark.parametrize("profile", ["local", *NETWORK])
@pytest.mark.parametrize("error", [errno.ESTALE, errno.EINTR])
@pytest.mark.parametrize("nth", [1, 2])
def test_nor_is_an_item_of_the_queue(nth: int, error: int, profile: str) -> None:
    """Put one by one, then as a group; a worker delivers all that was accepted, whole and once."""
    server, ledger = new_server(profile), Ledger()
    sick = Actor(server, ledger, "a", [replace(created_late(error, 3.0), match="/spool/tmp/", nth=nth),
                                       replace(renamed_late(4.0), match="/spool/tmp/", nth=nth)])  # fmt: skip
    sick.put("one")
    sick.put("two")
    sick.put("three", "four")
    assert len(sick.host.plan.hits) >= 2
    server.advance(60.0)
    well = Actor(server, ledger, "b")
    for claim in well.claim(10):
        well.end(claim, "deliver")
    accepted = [token for token, entry in ledger.entries.items() if entry.put == "accepted"]
    assert accepted
    reckon(server, ledger)
    assert {delivered(server)[token] for token in accepted} == {1}


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("delay", [3.0, 20.0, 100.0])
def test_whenever_the_two_are_executed(delay: float, times: int) -> None:
    faults = created_late(errno.ESTALE, delay), renamed_late(delay + 1.0, times)
    Explorer(histories.deliver_two, "nfs4", crash=False).run(*faults)


def test_a_rename_whose_replies_are_lost_never_takes_an_empty_file_that_is_created_late() -> None:
    lost = Fault("rename", errno.EIO, "done", times=10**6)
    Explorer(histories.deliver_one, "nfs3", crash=False).run(created_late(errno.ESTALE, 3.0), lost)


@pytest.mark.parametrize("history", [histories.deliver_one, histories.deliver_two, histories.deliver_batch])
def test_an_fsync_that_is_interrupted_has_failed(history: History) -> None:
    """The kernel has told its error and dropped the pages; an fsync made again on that file says nothing."""
    Explorer(history, "nfs4").run(Fault("fsync", errno.EINTR))


def test_an_fsync_of_the_directory_that_is_interrupted_has_failed() -> None:
    """The entries may be lost; whoever is answered nevertheless must have asked the file system twice."""

    def look(world: World) -> None:
        world.deliver("one")
        calls = [call for call in world.server.history if call.kind == "fsync_dir"]
        assert any("EINTR" in call.outcome for call in calls)
        assert not world.ledger.entries["one"].acked, "the answer of a second fsync says nothing of the first"

    Explorer(look, "nfs4", crash=False).run(Fault("fsync_dir", errno.EINTR))
