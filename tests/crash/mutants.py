"""Deliberately broken protocols: each a few lines against the real code, and the scenario that kills it.

A mutant is a function that breaks something by pytest's `monkeypatch`; a scenario is a function that
raises `Violation` if anything is lost, doubled, refused though done, or stuck. The scenario passes
with the real code: `test_mutants.py` checks both, and that docs/proof.md has this table.
"""

from __future__ import annotations

import contextlib
import errno
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from maildir_safe import handoff, maildir
from maildir_safe.commit import DirectorySync
from maildir_safe.handoff import DONE, GONE, NOT_DONE, Handoff, Outcome
from maildir_safe.maildir import Maildir, delivery, janitor
from maildir_safe.maildir.delivery import JANITOR_AGE, Delivery
from maildir_safe.maildir.reading import Reading
from maildir_safe.names import UniqueNames, carries
from maildir_safe.testing import simhistories as histories
from maildir_safe.testing.explore import Explorer, History
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simfs import Fault, Mode, SimHost
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
        return f"`{self.scenario.__name__}` on {self.profile}{faults}"

    def run(self) -> None:
        """The scenario, with every crash if a crash is what shows it."""
        Explorer(self.scenario, self.profile, self.mode, crash=self.crash).run(*self.faults)


# -- what is broken -------------------------------------------------------------------------


def no_directory_fsync(patch: Patch) -> None:
    """acknowledged after the rename, without an fsync of new/"""
    patch.setattr(DirectorySync, "sync", lambda _: True)


def directory_fsync_before_the_rename(patch: Patch) -> None:
    """new/ is fsynced before the rename"""
    publish = Handoff.publish

    def early(self: Handoff, *args: Any) -> Outcome:
        self._fs.fsync(args[2])
        return publish(self, *args)

    patch.setattr(Handoff, "publish", early)
    patch.setattr(DirectorySync, "sync", lambda _: True)


def fsync_of_the_source_directory(patch: Patch) -> None:
    """tmp/ is fsynced instead of new/: a journal forgives that, other media do not"""
    publish = Handoff.publish

    def wrong(self: Handoff, *args: Any) -> Outcome:
        outcome = publish(self, *args)
        self._fs.fsync(args[0])
        return outcome

    patch.setattr(Handoff, "publish", wrong)
    patch.setattr(DirectorySync, "sync", lambda _: True)


def no_file_fsync(patch: Patch) -> None:
    """the file is renamed into view without an fsync"""
    patch.setattr(Delivery, "_fsync", lambda *_: True)


def rename_before_fsync(patch: Patch) -> None:
    """the file is fsynced after it was renamed into view"""
    fsync, close, waiting = SimHost.fsync, SimHost.close, list[int]()

    def later(self: SimHost, fd: int) -> None:
        if self._handle(fd).path.endswith("/new"):
            while waiting:
                fsync(self, waiting[-1])
                close(self, waiting.pop())
            fsync(self, fd)
        else:
            waiting.append(fd)

    patch.setattr(SimHost, "fsync", later)
    patch.setattr(SimHost, "close", lambda self, fd: None if fd in waiting else close(self, fd))


def fsync_tried_again_on_the_same_file(patch: Patch) -> None:
    """after a failed fsync the same file is fsynced once more, which says nothing"""
    fsync = Delivery._fsync

    def twice(self: Delivery, fd: int) -> bool:
        try:
            return fsync(self, fd)
        except OSError:
            return fsync(self, fd)

    patch.setattr(Delivery, "_fsync", twice)


def fsync_error_ignored(patch: Patch) -> None:
    """what fsync answers is not looked at"""
    fsync = SimHost.fsync

    def careless(self: SimHost, fd: int) -> None:
        with contextlib.suppress(OSError):
            fsync(self, fd)

    patch.setattr(SimHost, "fsync", careless)


def close_error_ignored(patch: Patch) -> None:
    """what close answers, perhaps the first word of a failed write, is not looked at"""
    _two_are_a_crowd(patch)
    close = SimHost.close

    def careless(self: SimHost, fd: int) -> None:
        with contextlib.suppress(OSError):
            close(self, fd)

    patch.setattr(SimHost, "close", careless)


def short_write_ignored(patch: Patch) -> None:
    """write is called once and taken to have written all"""

    def once(fs: Any, fd: int, data: bytes) -> int:
        fs.write(fd, data)
        return len(data)

    patch.setattr(delivery, "_write_fully", once)


def _two_are_a_crowd(patch: Patch) -> None:
    patch.setattr(delivery, "_SYNCFS_FROM", 2)


def batch_acknowledged_before_its_fsync(patch: Patch) -> None:
    """the syncfs before the renames is all that a batch gets"""
    _two_are_a_crowd(patch)
    sync_all = Delivery._sync_all

    def enough(self: Delivery, *args: Any) -> Any:
        patch.setattr(DirectorySync, "sync", lambda _: True)
        return sync_all(self, *args)

    patch.setattr(Delivery, "_sync_all", enough)


def batch_without_syncfs(patch: Patch) -> None:
    """a batch is renamed into view without the syncfs that stands for its fsyncs"""
    _two_are_a_crowd(patch)
    patch.setattr(Delivery, "_sync_all", lambda *args: args[-1])


def link_and_trust_EEXIST(patch: Patch) -> None:
    """published by link and unlink; EEXIST is taken for a name that somebody else has"""

    def publish(self: Handoff, src_dir: int, src: str, dst_dir: int, dst: str, _: float) -> Outcome:
        try:
            self._fs.link(src, dst, src_dir, dst_dir)
        except OSError as error:
            handoff.remove_quietly(self._fs, src_dir, src)
            return Outcome(NOT_DONE, 1, error)
        self._fs.unlink(src, src_dir)
        return Outcome(DONE, 1, None)

    patch.setattr(Handoff, "publish", publish)


def _believe(patch: Patch, code: int) -> None:
    settle = Handoff._settle

    def at_once(self: Handoff, *args: Any, **how: Any) -> Outcome:
        error = next(arg for arg in args if isinstance(arg, OSError))
        return Outcome(NOT_DONE, 1, error) if error.errno == code else settle(self, *args, **how)

    patch.setattr(Handoff, "_settle", at_once)
    refuse_without_withdrawing(patch)


def trust_ENOENT(patch: Patch) -> None:
    """ENOENT from rename is taken for: it did not happen"""
    _believe(patch, errno.ENOENT)


def trust_EIO(patch: Patch) -> None:
    """EIO from rename is taken for: it did not happen"""
    _believe(patch, errno.EIO)


def refuse_without_withdrawing(patch: Patch) -> None:
    """refused while the request may still be executed: the source is left where it was"""
    patch.setattr(Handoff, "_withdraw", lambda *args: args[-1])


def look_by_stat_alone(patch: Patch) -> None:
    """after an error names are not listed but looked up, and a cache answers for half a minute"""

    def cached(self: Handoff, dir_fd: int, name: str) -> bool:
        try:
            self._fs.stat(name, dir_fd)
        except FileNotFoundError:
            return False
        return True

    patch.setattr(Handoff, "_present", cached)


def identity_by_inode(patch: Patch) -> None:
    """what is there under our name counts as ours only if its inode number is that of our file"""
    publish = Handoff.publish

    def by_inode(self: Handoff, *args: Any) -> Outcome:
        number = self._fs.stat(args[1], args[0]).st_ino
        outcome = publish(self, *args)
        if outcome.error and outcome.kind == DONE and self._fs.stat(args[3], args[2]).st_ino != number:
            return Outcome(NOT_DONE, outcome.renames, outcome.error)
        return outcome

    patch.setattr(Handoff, "publish", by_inode)


def publish_from_any_age(patch: Patch) -> None:
    """a file in tmp/ is published, and taken for moved on, however old it is"""
    publish = Handoff.publish
    patch.setattr(Handoff, "publish", lambda self, *args: publish(self, *args[:4], float("inf")))


def name_from_the_clock_alone(patch: Patch) -> None:
    """names are made of the second and the process, without random bits"""

    def coarse(self: UniqueNames, hashed_id: str = "") -> str:
        return f"{self._fs.time_ns() // 10**9}.P4711{hashed_id}.host"

    patch.setattr(UniqueNames, "new", coarse)


def tried_again_without_looking(patch: Patch) -> None:
    """a delivery with an id is not looked for before it is made again"""
    patch.setattr(Maildir, "_delivered", lambda *_: None)


def looked_for_in_new_alone(patch: Patch) -> None:
    """a delivery with an id is looked for in new/, not in cur/, where a reader has moved it"""

    def search(fs: Any, dirs: Any, hashed_id: str) -> tuple[str, str] | None:
        names = (name for name in fs.listdir(dirs.new) if carries(name, hashed_id))
        return next((("new", name) for name in names), None)

    patch.setattr(maildir, "_search", search)


def one_listing_is_believed(patch: Patch) -> None:
    """a message that one listing does not show is taken to be gone"""
    on = Reading._on

    def at_once(self: Reading, key: str, *args: Any, **how: Any) -> Any:
        if all(message.key != key for message in self._listing(self._directories(False))):
            raise KeyError(key)
        return on(self, key, *args, **how)

    patch.setattr(Reading, "_on", at_once)


def flags_by_copy_and_unlink(patch: Patch) -> None:
    """a message whose flags change is written anew and its old file removed"""

    def copy(self: Reading, dirs: Any, message: Any, target: Any, name: str, *_: Any) -> None:
        fs = self._fs
        old, new = fs.open(message.name, dirs.fd(message.subdir)), fs.create(name, target.cur)
        fs.write(new, fs.read(old, 1 << 20))
        fs.fsync(new)
        fs.close(new)
        fs.close(old)
        fs.unlink(message.name, dirs.fd(message.subdir))

    patch.setattr(Reading, "rename", copy)


def flags_without_a_directory_fsync(patch: Patch) -> None:
    """a change of flags is acknowledged without an fsync of cur/"""
    no_directory_fsync(patch)


def sweep_by_atime(patch: Patch) -> None:
    """the janitor tells age by the time of last access, of which vfat keeps the day alone"""
    stat = SimHost.stat

    def access(self: SimHost, name: str, dir_fd: int) -> Any:
        found = stat(self, name, dir_fd)
        if name.startswith(".clock"):
            return found
        return types.SimpleNamespace(st_mode=found.st_mode, st_size=found.st_size, st_mtime=found.st_atime)

    patch.setattr(SimHost, "stat", access)


def sweep_by_the_local_clock(patch: Patch) -> None:
    """the janitor compares the server's times with its own host's clock"""
    patch.setattr(janitor, "_server_time", lambda fs, _: fs.time_ns() / 1e9)


def sweep_everything(patch: Patch) -> None:
    """the janitor takes what is in tmp/, whatever its age"""
    patch.setattr(janitor, "_server_time", lambda *_: float("inf"))


def new_before_tmp(patch: Patch) -> None:
    """new/ is looked at before tmp/"""
    open_dir = SimHost.open_dir

    def other_order(self: SimHost, path: str, dir_fd: int | None = None) -> int:
        if path == "tmp" and dir_fd is not None:
            self.stat("new", dir_fd)
        return open_dir(self, path, dir_fd)

    patch.setattr(SimHost, "open_dir", other_order)


def shared_claim_target(patch: Patch) -> None:
    """claimants rename to one and the same name, and find it there"""
    claim = Handoff.claim

    def shared(self: Handoff, src_dir: int, src: str, *_: Any) -> Outcome:
        return claim(self, src_dir, src, src_dir, "claimed")

    patch.setattr(Handoff, "claim", shared)


def claim_won_because_the_source_is_gone(patch: Patch) -> None:
    """a claim that gets ENOENT is taken for one whose reply was lost"""
    claim = Handoff.claim

    def greedy(self: Handoff, *args: Any) -> Outcome:
        outcome = claim(self, *args)
        return Outcome(DONE, outcome.renames, outcome.error) if outcome.kind == GONE else outcome

    patch.setattr(Handoff, "claim", greedy)


# -- where it shows -------------------------------------------------------------------------


def flagged_before_the_next_try(world: World) -> None:
    """A delivery with an id ends unknown; a reader flags it; then it is tried again."""
    world.deliver("one", with_id=True)
    if world.ledger.entries["one"].unknown:
        world.flag("one", "S", "b")
    world.ledger.entries["one"].places = None
    world.deliver("one", with_id=True)


def half_a_minute(world: World) -> None:
    """One lost reply must cost less than five seconds."""
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


_EIO, _EEXIST = errno.EIO, errno.EEXIST

MUTANTS = [
    Mutant(no_directory_fsync, histories.deliver_one, "I1"),
    Mutant(directory_fsync_before_the_rename, histories.deliver_one, "I1"),
    Mutant(fsync_of_the_source_directory, histories.deliver_one, "I1", mode="weak"),
    Mutant(no_file_fsync, histories.deliver_one, "I3"),
    Mutant(rename_before_fsync, histories.deliver_one, "I3"),
    Mutant(fsync_tried_again_on_the_same_file, histories.deliver_one, "I3", faults=(Fault("fsync"),)),
    Mutant(fsync_error_ignored, histories.deliver_one, "I3", faults=(Fault("fsync"),)),
    Mutant(close_error_ignored, histories.deliver_batch, "I3", faults=(Fault("close"),)),
    Mutant(short_write_ignored, histories.deliver_one, "I3", faults=(Fault("write", 0),)),
    Mutant(batch_acknowledged_before_its_fsync, histories.deliver_batch, "I1"),
    Mutant(batch_without_syncfs, histories.deliver_batch, "I3"),
    Mutant(link_and_trust_EEXIST, histories.deliver_one, "I5", "nfs3", (Fault("link", _EEXIST, "done"),)),
    Mutant(trust_ENOENT, histories.deliver_one, "I2", "nfs3", (Fault("rename", errno.ENOENT, "done"),)),
    Mutant(trust_EIO, histories.deliver_one, "I5", "nfs4", (Fault("rename", _EIO, "done"),)),
    Mutant(
        refuse_without_withdrawing, histories.deliver_one, "I5", "nfs3",
        (Fault("rename", _EIO, "late", times=5, delay=100.0),),
    ),
    Mutant(look_by_stat_alone, half_a_minute, "I9", "nfs3", (Fault("rename", _EIO, "done"),)),
    Mutant(identity_by_inode, histories.deliver_one, "I5", "rclone", (Fault("rename", _EIO, "done"),)),
    Mutant(name_from_the_clock_alone, histories.deliver_two, "I1"),
    Mutant(tried_again_without_looking, histories.deliver_again, "I8", faults=(Fault("fsync_dir"),)),
    Mutant(
        looked_for_in_new_alone, flagged_before_the_next_try, "I4", faults=(Fault("fsync_dir"),), crash=False,
    ),
    Mutant(
        one_listing_is_believed, histories.read_flag_move, "I6",
        faults=(Fault("listdir", 0, nth=2, match="/mail/cur", hides="Q"),),
    ),
    Mutant(flags_by_copy_and_unlink, histories.read_flag_move, "I3"),
    Mutant(flags_without_a_directory_fsync, histories.read_flag_move, "I1"),
    Mutant(
        publish_from_any_age, two_days_for_one_fsync, "I1", "nfs4",
        (Fault("fsync", 0, "slow", delay=JANITOR_AGE + 4 * 3600.0),),
    ),
    Mutant(sweep_by_atime, sweep_after_a_day, "I7", "vfat", crash=False),
    Mutant(sweep_by_the_local_clock, histories.janitor, "I7", "nfs4"),
    Mutant(sweep_everything, histories.janitor, "I7", crash=False),
    Mutant(new_before_tmp, histories.server_was_down, "I1", "coda", crash=False),
    Mutant(shared_claim_target, two_claimants, "I2", "gluster"),
    Mutant(claim_won_because_the_source_is_gone, two_claimants, "I2", "gluster"),
]  # fmt: skip


def table() -> str:
    """The mutants and what kills them, as a table for docs/proof.md."""
    rows = [f"| {m.name} | {m.breaks.__doc__} | {m.where} | {m.killed_by} |" for m in MUTANTS]
    return "\n".join(["| mutant | what is broken | killed by | violates |", "|---|---|---|---|", *rows])
