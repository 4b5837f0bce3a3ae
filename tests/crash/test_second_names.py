"""A rename that leaves both names, as GlusterFS's healing can: the second name goes, the file stays."""

from __future__ import annotations

import errno

import pytest

from maildir_safe.testing import simhistories as histories
from maildir_safe.testing.explore import History
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simfs import Fault
from maildir_safe.testing.simworld import World


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOENT, errno.ESTALE])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("history", [histories.read_flag_move, histories.deliver_again])
@pytest.mark.parametrize("profile", ["local", "gluster", "nfs4"])
def test_both_names_after_an_error(history: History, profile: str, nth: int, error: int) -> None:
    """Only in the end: until the answer is looked into, the file system itself shows both."""
    world = World(profile, faults=[Fault("rename", error, "both", nth=nth)])
    history(world)
    world.server.settle()
    world.check()  # raises Violation
    assert world.violation is None


def second_name(world: World, flags: str) -> None:
    """Give a message a second name in cur/, as a rename would that changes its flags so."""
    name = world.ledger.entries["one"].key
    disk = world.server.disk
    mail = disk.lookup(1, "mail").ino
    new, cur = (disk.lookup(mail, sub).ino for sub in ("new", "cur"))
    disk.link(new, name, cur, f"{name}:2,{flags}")
    disk.sync_all()
    world.server.version += 1


def healed_before_the_flag(world: World) -> None:
    """One message has names in new/ and in cur/; its flags are set to those that it has there."""
    world.deliver("one", "b")
    world.server.advance(60.0)
    second_name(world, "S")
    world.flag("one", "S", "a")
    world.server.advance(60.0)
    names = [path for path in world.server.files() if path.startswith(("/mail/new/", "/mail/cur/"))]
    if len(names) != 1:
        raise Violation("I6", f"the rename did nothing, and both names are still there: {names}")


def test_flags_of_a_message_that_has_the_other_name_already() -> None:
    healed_before_the_flag(World("gluster"))
