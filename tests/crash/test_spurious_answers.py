"""Answers that are wrong: a listing that omits a name, an ENOENT, an EEXIST, a file removed by another."""

from __future__ import annotations

import errno

import pytest

from maildir_safe.testing import simhistories as histories
from maildir_safe.testing.explore import Explorer
from maildir_safe.testing.simdisk import ROOT
from maildir_safe.testing.simfs import Fault
from maildir_safe.testing.simserver import Call
from maildir_safe.testing.simworld import World


@pytest.mark.parametrize("where", ["new", "cur"])
@pytest.mark.parametrize("nth", range(1, 6))
def test_one_listing_that_omits_the_message_makes_no_second_copy(nth: int, where: str) -> None:
    """The first try ends unknown; the second looks for it, and one of its listings leaves it out."""

    def history(world: World) -> None:
        world.deliver("one", with_id=True)
        if where == "cur":
            world.flag("one", "S", "b")
            world.ledger.entries["one"].places = None
        world.deliver("one", with_id=True)

    omits = Fault("listdir", 0, nth=nth, match=f"/mail/{where}", hides="Q", quiet=True)
    Explorer(history, "nfs4", crash=False).run(Fault("fsync_dir"), omits)


@pytest.mark.parametrize("profile", ["local", "nfs4", "gluster"])
@pytest.mark.parametrize("nth", range(1, 6))
def test_a_directory_that_is_said_to_be_there_and_is_not(nth: int, profile: str) -> None:
    """EEXIST from mkdir: what is renamed into place is a whole Maildir, or it is not renamed."""
    Explorer(histories.make_and_deliver, profile, crash=False).run(Fault("mkdir", errno.EEXIST, nth=nth))


@pytest.mark.parametrize("after", ["fsync", "close"])
@pytest.mark.parametrize("profile", ["local", "nfs4"])
def test_a_file_that_another_removed_from_tmp_is_not_delivered(profile: str, after: str) -> None:
    """A janitor by a wrong clock takes the file between fsync and rename: nothing is delivered."""
    world = World(profile)

    def janitor(call: Call) -> None:
        if call.kind == after and call.names.startswith("/mail/tmp/"):
            world.server.after_call = None
            disk = world.server.disk
            tmp = disk.lookup(disk.lookup(ROOT, "mail").ino, "tmp").ino
            disk.unlink(tmp, call.names.rpartition("/")[2])
            world.server.version += 1

    world.server.after_call = janitor
    assert world.deliver("one") != "acked"
    assert not world.server.files()


def test_a_reader_that_moved_it_on_before_the_lost_reply_was_understood_is_no_loss() -> None:
    """The same look, tmp/ and new/ empty, when all is well: cur/ tells."""
    world = World("local", faults=[Fault("rename", errno.EIO, "done")])

    def flagged(call: Call) -> None:
        if "fault: done" in call.outcome:
            world.server.after_call = None
            box = world.box("b")
            [message] = box.messages()
            box.set_flags(message.key, "S")

    world.server.after_call = flagged
    assert world.deliver("one") == "acked"
    [path] = world.server.files()
    assert path.startswith("/mail/cur/")
