"""Deliberately broken protocols: each a few lines against the real code, and the scenario that kills it.

A mutant is a function that breaks something by pytest's `monkeypatch`; a scenario is a function that
raises `Violation` if anything is lost, doubled, refused though done, or stuck. The scenario passes
with the real code: `test_mutants.py` checks both, and that docs/development/mutants.md has this table.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

import mutants_deliver as deliver
import mutants_read as read
import pytest

from maildir_safe import Maildir
from maildir_safe._delivery.attempt import JANITOR_AGE
from maildir_safe._handoff.rename import DONE, Handoff
from maildir_safe.testing import simhistories as histories
from maildir_safe.testing.explore import Explorer, History
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simdisk import ROOT
from maildir_safe.testing.simfs import Fault, Mode
from maildir_safe.testing.simserver import Call
from maildir_safe.testing.simworld import World

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A broken protocol and what kills it.

    Attributes:
        breaks: makes the change; its docstring says what is broken.
        scenario: the history, the profile and mode, and the faults under which it shows.
        killed_by: the invariant that it violates.
        crash: whether it is also crashed at every call.
    """

    breaks: Callable[[Patch], None]
    scenario: History
    killed_by: str
    profile: str = "local"
    faults: tuple[Fault, ...] = ()
    mode: Mode = "atomic"
    crash: bool = True

    @property
    def name(self) -> str:
        return self.breaks.__name__.replace("_", " ")

    @property
    def where(self) -> str:
        faults = f", {', '.join(map(str, self.faults))}" if self.faults else ""
        mode = "" if self.mode == "atomic" else f" ({self.mode})"
        return f"`{self.scenario.__name__}` on {self.profile}{mode}{faults}"

    def run(self) -> None:
        """The scenario, with every crash if a crash is what shows it."""
        Explorer(self.scenario, self.profile, self.mode, crash=self.crash).run(*self.faults)


def flagged_before_the_next_try(world: World) -> None:
    """A delivery with an id ends unknown; a reader flags it; then it is tried again."""
    world.deliver("one", with_id=True)
    if world.ledger.entries["one"].unknown:
        world.flag("one", "S", "b")
    world.ledger.entries["one"].places = None
    world.deliver("one", with_id=True)


def flags_by_turns(world: World) -> None:
    """Two hosts set the flags of one message by turns."""
    world.deliver("one")
    for host, flags in [("a", "S"), ("b", ""), ("a", "S")]:
        world.flag("one", flags, host)


def one_lost_reply(world: World) -> None:
    """A delivery that loses one reply must take less than five seconds."""
    world.deliver("one")
    if world.server.now > 5.0:
        raise Violation("I9", f"one lost reply took {world.server.now:.0f} s")


def two_days_for_one_fsync(world: World) -> None:
    """A delivery hangs for forty hours; the janitor of another host sweeps meanwhile."""

    def sweeps() -> None:
        world.host("b").sleep(39 * 3600.0)
        world.clean("b")

    world.together([("a", lambda: world.deliver("one")), ("b", sweeps)])


def sweep_after_a_day(world: World) -> None:
    """A file in tmp/ is thirty hours old, and the janitor sweeps."""
    world.litter("1.young", 30 * 3600.0)
    world.clean("a")


def server_was_down_staging_in_tmp(world: World) -> None:
    """One of a directory's servers is down while messages are renamed from tmp/ to new/."""
    world.make = lambda path, host: Maildir(path, create=False, staging="tmp", fs=host)
    histories.server_was_down(world)


def two_claimants(world: World) -> None:
    """Two hosts claim one file, each into a directory of its own; one wins."""
    world.deliver("one", "c")
    name = world.box("c").find(world.ledger.entries["one"].key).name
    world.ledger.entries["one"].places = {("/mail", ""), ("/other", "")}
    won = []
    for host, mine in (("a", "/mail/cur"), ("b", "/other/cur")):
        fs = world.host(host)
        outcome = Handoff(fs).claim(fs.open_dir("/mail/new"), name, fs.open_dir(mine), name)
        won += [host] if outcome.kind == DONE else []
    if won != ["a"]:
        raise Violation("I2", f"claimed by {won}")


def taken_by_a_janitor(world: World) -> None:
    """A janitor with a wrong clock removes the file from tmp/ between its fsync and its rename."""

    def janitor(call: Call) -> None:
        if call.kind == "close" and call.names.startswith("/mail/tmp/"):
            world.server.after_call = after
            disk = world.server.disk
            disk.unlink(disk.lookup(disk.lookup(ROOT, "mail").ino, "tmp").ino, call.names.rpartition("/")[2])
            world.server.version += 1
        if after:
            after(call)

    after, world.server.after_call = world.server.after_call, janitor
    world.deliver("one")


def healed_before_the_flag(_: World) -> None:
    """One message has names in new/ and in cur/, as healing leaves them; it is flagged as the latter says."""
    world = World("gluster")
    world.deliver("one", "b")
    world.server.advance(60.0)
    disk, key = world.server.disk, world.ledger.entries["one"].key
    new, cur = (disk.lookup(disk.lookup(ROOT, "mail").ino, subdir).ino for subdir in ("new", "cur"))
    disk.link(new, key, cur, f"{key}:2,S")
    disk.sync_all()
    world.server.version += 1
    world.flag("one", "S", "a")
    world.check()


def two_clients_by_turns(world: World) -> None:
    """Two clients deliver by turns, and each sees what the other did; nobody is refused."""
    for number in range(3):
        for host in ("a", "b"):
            if world.deliver(f"{host}{number}", host) != "acked":
                raise Violation("I9", f"{host}{number} was refused though nothing goes wrong")
            world.server.advance(30.0)


RENAMED = (Fault("rename", errno.EIO, "done"),)
RENAMED_AGAIN = (Fault("rename", errno.ENOENT, "done"),)
LINKED = (Fault("link", errno.EEXIST, "done"),)
LATE = (Fault("rename", errno.EIO, "late", times=5, delay=100.0),)
CREATED_LATE = (
    Fault("create", errno.ESTALE, "late", delay=3.0),
    Fault("rename", errno.EIO, "late", delay=4.0),
)
MISSED = (Fault("listdir", 0, nth=5, match="/mail/cur", hides="Q"),)
SLOW = (Fault("fsync", 0, "slow", delay=JANITOR_AGE + 4 * 3600.0),)
NO_FSYNC, NO_DIRECTORY_FSYNC = (Fault("fsync"),), (Fault("fsync_dir"),)

MUTANTS = [
    Mutant(deliver.no_directory_fsync, histories.deliver_one, "I1"),
    Mutant(deliver.directory_fsync_before_the_rename, histories.deliver_one, "I1"),
    Mutant(deliver.fsync_of_the_source_directory, histories.deliver_one, "I1", mode="weak"),
    Mutant(deliver.no_file_fsync, histories.deliver_one, "I3"),
    Mutant(deliver.rename_before_fsync, histories.deliver_one, "I3"),
    Mutant(deliver.fsync_tried_again_on_the_same_file, histories.deliver_one, "I3", faults=NO_FSYNC),
    Mutant(deliver.fsync_error_ignored, histories.deliver_one, "I3", faults=NO_FSYNC),
    Mutant(deliver.close_error_ignored, histories.deliver_batch, "I3", faults=(Fault("close"),)),
    Mutant(deliver.short_write_ignored, histories.deliver_one, "I3", faults=(Fault("write", 0),)),
    Mutant(deliver.batch_acknowledged_before_its_fsync, histories.deliver_batch, "I1"),
    Mutant(deliver.batch_without_syncfs, histories.deliver_batch, "I3"),
    Mutant(deliver.link_and_trust_EEXIST, histories.deliver_one, "I5", "nfs3", LINKED),
    Mutant(deliver.trust_ENOENT, histories.deliver_one, "I2", "nfs3", RENAMED_AGAIN),
    Mutant(deliver.trust_EIO, histories.deliver_one, "I5", "nfs4", RENAMED),
    Mutant(deliver.refuse_without_withdrawing, histories.deliver_one, "I5", "nfs3", LATE),
    Mutant(deliver.look_by_stat_alone, one_lost_reply, "I9", "nfs3", RENAMED),
    Mutant(deliver.identity_by_inode, histories.deliver_one, "I5", "rclone", RENAMED),
    Mutant(deliver.names_are_not_sealed, histories.deliver_one, "I3", "nfs4", CREATED_LATE, crash=False),
    Mutant(
        deliver.an_interrupted_fsync_is_made_again, histories.deliver_one, "I3",
        faults=(Fault("fsync", errno.EINTR),),
    ),
    Mutant(deliver.gone_is_taken_for_moved_on, taken_by_a_janitor, "I1", crash=False),
    Mutant(deliver.second_names_are_left, healed_before_the_flag, "I6", "gluster", crash=False),
    Mutant(deliver.directories_are_held, two_clients_by_turns, "I9", "coda", crash=False),
    Mutant(read.name_from_the_clock_alone, histories.deliver_two, "I1"),
    Mutant(read.tried_again_without_looking, histories.deliver_again, "I8", faults=NO_DIRECTORY_FSYNC),
    Mutant(
        read.looked_for_in_new_alone, flagged_before_the_next_try, "I4",
        faults=NO_DIRECTORY_FSYNC, crash=False,
    ),
    Mutant(read.an_old_listing_is_believed, flags_by_turns, "I6", "gluster"),
    Mutant(read.directory_above_not_fsynced, histories.make_and_deliver, "I8"),
    Mutant(read.one_listing_is_believed, histories.read_flag_move, "I6", faults=MISSED),
    Mutant(read.flags_by_copy_and_unlink, histories.read_flag_move, "I3"),
    Mutant(read.flags_without_a_directory_fsync, histories.read_flag_move, "I1"),
    Mutant(read.one_kind_of_disk_taken_for_another, histories.read_flag_move, "I6", "btrfs", mode="logged"),
    Mutant(deliver.publish_from_any_age, two_days_for_one_fsync, "I1", "nfs4", SLOW),
    Mutant(read.sweep_by_atime, sweep_after_a_day, "I7", "vfat", crash=False),
    Mutant(read.sweep_by_the_local_clock, histories.janitor, "I7", "nfs4"),
    Mutant(read.sweep_everything, histories.janitor, "I7", crash=False),
    Mutant(read.new_before_tmp, server_was_down_staging_in_tmp, "I1", "coda", crash=False),
    Mutant(read.shared_claim_target, two_claimants, "I2", "gluster"),
    Mutant(read.claim_won_because_the_source_is_gone, two_claimants, "I2", "gluster"),
]  # fmt: skip


def table() -> str:
    """The mutants and what kills them, as a table for docs/development/mutants.md."""
    rows = [f"| {m.name} | {m.breaks.__doc__} | {m.where} | {m.killed_by} |" for m in MUTANTS]
    return "\n".join(["| mutant | what is broken | killed by | violates |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
