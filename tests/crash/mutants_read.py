"""Names, reading, sweeping and claiming, broken."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import pytest

from maildir_safe._fs import Mount
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import DONE, GONE, Handoff, Outcome
from maildir_safe._maildir import earlier, janitor
from maildir_safe._maildir.message_store import MessageStore
from maildir_safe._names import UniqueNames, carries
from maildir_safe.testing.simfs import SimHost

Patch = pytest.MonkeyPatch


def name_from_the_clock_alone(patch: Patch) -> None:
    """names are made of the second and the process, without random bits"""

    def coarse(self: UniqueNames, hashed_ids: Sequence[str]) -> list[str]:
        return [f"{self._fs.time_ns() // 10**9}.P4711{hashed_id}.host" for hashed_id in hashed_ids]

    patch.setattr(UniqueNames, "new", coarse)


def tried_again_without_looking(patch: Patch) -> None:
    """a delivery with an id is not looked for before it is made again"""
    patch.setattr(earlier, "find_earlier", lambda *_: None)


def looked_for_in_new_alone(patch: Patch) -> None:
    """a delivery with an id is looked for in new/, not in cur/, where a reader has moved it"""

    def search(fs: Any, dirs: Any, hashed_id: str) -> tuple[str, str] | None:
        names = (name for name in fs.listdir(dirs.new) if carries(name, hashed_id))
        return next((("new", name) for name in names), None)

    patch.setattr(earlier, "_search", search)


def an_old_listing_is_believed(patch: Patch) -> None:
    """flags that an earlier listing showed are not set again"""
    set_flags = MessageStore.set_flags

    def lazy(self: MessageStore, key: str, flags: str) -> Any:
        known = self._known(key)
        return known if known and known.flags == flags else set_flags(self, key, flags)

    patch.setattr(MessageStore, "set_flags", lazy)


def directory_above_not_fsynced(patch: Patch) -> None:
    """a new Maildir is renamed into place without an fsync of the directory above it"""
    fsync = SimHost.fsync

    def below(self: SimHost, fd: int) -> None:
        if self._handle(fd).path != "/":
            fsync(self, fd)

    patch.setattr(SimHost, "fsync", below)


def one_listing_is_believed(patch: Patch) -> None:
    """a message that one listing does not show is taken to be gone"""
    on = MessageStore._on

    def at_once(self: MessageStore, key: str, *args: Any, **how: Any) -> Any:
        if all(key != message.key for message in self.messages()):
            raise KeyError(key)
        return on(self, key, *args, **how)

    patch.setattr(MessageStore, "_on", at_once)


def flags_by_copy_and_unlink(patch: Patch) -> None:
    """a message whose flags change is written anew and its old file removed"""

    def copy(self: MessageStore, dirs: Any, message: Any, target: Any, name: str, *_: Any) -> None:
        fs = self._fs
        old, new = fs.open(message.name, dirs.fd(message.subdir)), fs.create(name, target.cur)
        fs.write(new, fs.read(old, 1 << 20))
        fs.fsync(new)
        fs.close(new)
        fs.close(old)
        fs.unlink(message.name, dir_fd=dirs.fd(message.subdir))

    patch.setattr(MessageStore, "rename", copy)


def one_kind_of_disk_taken_for_another(patch: Patch) -> None:
    """what is mounted is not asked, and one fsync after a change of flags is taken to be enough"""
    patch.setattr(SimHost, "mount", lambda *_: Mount("ext4", "server:/", "rw", "/"))


def flags_without_a_directory_fsync(patch: Patch) -> None:
    """a change of flags is acknowledged without an fsync of cur/"""
    patch.setattr(DirectorySync, "sync", lambda _: True)


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
    patch.setattr(janitor, "server_time", lambda fs, _: fs.time_ns() / 1e9)


def sweep_everything(patch: Patch) -> None:
    """the janitor takes what is in tmp/, whatever its age"""
    patch.setattr(janitor, "server_time", lambda *_: float("inf"))


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
