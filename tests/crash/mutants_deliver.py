"""Deliveries, broken: writing, making durable, publishing, and finding out what happened."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

import pytest

from maildir_safe._delivery import attempt
from maildir_safe._delivery.attempt import Attempt
from maildir_safe._delivery.job import DeliveryJob
from maildir_safe._fs.quirks import Quirks
from maildir_safe._handoff import rename
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import DONE, NOT_DONE, Handoff, Outcome
from maildir_safe._maildir import handles
from maildir_safe._maildir.directories import OpenDirectories
from maildir_safe.testing.simfs import SimHost

Patch = pytest.MonkeyPatch
Unclear = dict[str, Outcome]


def no_directory_fsync(patch: Patch) -> None:
    """acknowledged after the rename, without an fsync of new/"""
    patch.setattr(DirectorySync, "sync", lambda _: True)


def directory_fsync_before_the_rename(patch: Patch) -> None:
    """new/ is fsynced before the rename"""
    publish = Handoff.publish

    def early(self: Handoff, *args: Any) -> Unclear:
        self._fs.fsync(args[2])
        return publish(self, *args)

    patch.setattr(Handoff, "publish", early)
    patch.setattr(DirectorySync, "sync", lambda _: True)


def fsync_of_the_source_directory(patch: Patch) -> None:
    """tmp/ is fsynced instead of new/: a journal forgives that, other media do not"""
    publish = Handoff.publish

    def wrong(self: Handoff, *args: Any) -> Unclear:
        ambiguous = publish(self, *args)
        self._fs.fsync(args[0])
        return ambiguous

    patch.setattr(Handoff, "publish", wrong)
    patch.setattr(DirectorySync, "sync", lambda _: True)


def no_file_fsync(patch: Patch) -> None:
    """the file is renamed into view without an fsync"""
    patch.setattr(Attempt, "_sync_files", lambda *_: None)


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
    not_synced = Attempt._not_synced

    def twice(self: Attempt, job: DeliveryJob, require: str | None, error: OSError) -> None:
        try:
            self._fs.fsync(job.fd)
        except OSError:
            not_synced(self, job, require, error)

    patch.setattr(Attempt, "_not_synced", twice)


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

    patch.setattr(attempt, "write_all", lambda *_: None)


def _two_are_a_crowd(patch: Patch) -> None:
    patch.setattr(attempt, "_SYNCFS_FROM", 2)


def batch_acknowledged_before_its_fsync(patch: Patch) -> None:
    """the syncfs before the renames is all that a batch gets"""
    _two_are_a_crowd(patch)
    sync_all = Attempt._sync_all

    def enough(self: Attempt, *args: Any) -> Any:
        patch.setattr(DirectorySync, "sync", lambda _: True)
        return sync_all(self, *args)

    patch.setattr(Attempt, "_sync_all", enough)


def batch_without_syncfs(patch: Patch) -> None:
    """a batch is renamed into view without the syncfs that stands for its fsyncs"""
    _two_are_a_crowd(patch)
    patch.setattr(Attempt, "_sync_all", lambda *args: args[-1])


def link_and_trust_EEXIST(patch: Patch) -> None:
    """published by link and unlink; EEXIST is taken for a name that somebody else has"""

    def publish(
        self: Handoff, src_dir: int, srcs: list[str], dst_dir: int, dsts: list[str], *_: Any
    ) -> Unclear:
        ambiguous = {}
        for src, dst in zip(srcs, dsts, strict=True):
            try:
                self._fs.link(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            except OSError as error:
                rename.remove_quietly(self._fs, src_dir, src)
                ambiguous[src] = Outcome(NOT_DONE, 1, error)
            else:
                self._fs.unlink(src, dir_fd=src_dir)
        return ambiguous

    patch.setattr(Handoff, "publish", publish)


def _believe(patch: Patch, code: int) -> None:
    settle = Handoff._resolve

    def at_once(self: Handoff, *args: Any, **how: Any) -> Outcome:
        error = next(arg for arg in args if isinstance(arg, OSError))
        return Outcome(NOT_DONE, 1, error) if error.errno == code else settle(self, *args, **how)

    patch.setattr(Handoff, "_resolve", at_once)
    refuse_without_withdrawing(patch)


def trust_ENOENT(patch: Patch) -> None:
    """ENOENT from rename is taken for: it did not happen"""
    _believe(patch, errno.ENOENT)


def trust_EIO(patch: Patch) -> None:
    """EIO from rename is taken for: it did not happen"""
    _believe(patch, errno.EIO)


def refuse_without_withdrawing(patch: Patch) -> None:
    """refused while the request may still be executed: the source is left where it was"""
    patch.setattr(Handoff, "withdraw", lambda *args: args[-1])
    patch.setattr(rename, "seal", lambda *_: True)  # which takes the source away as well


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

    def by_inode(
        self: Handoff, src_dir: int, srcs: list[str], dst_dir: int, dsts: list[str], *rest: Any
    ) -> Unclear:
        numbers = {src: self._fs.stat(src, src_dir).st_ino for src in srcs}
        final = dict(zip(srcs, dsts, strict=True))
        ambiguous = publish(self, src_dir, srcs, dst_dir, dsts, *rest)
        for src, outcome in ambiguous.items():
            if outcome.kind == DONE and self._fs.stat(final[src], dst_dir).st_ino != numbers[src]:
                ambiguous[src] = Outcome(NOT_DONE, outcome.renames, outcome.error)
        return ambiguous

    patch.setattr(Handoff, "publish", by_inode)


def publish_from_any_age(patch: Patch) -> None:
    """a file in tmp/ is published, and taken for moved on, however old it is"""
    publish = Handoff.publish
    patch.setattr(Handoff, "publish", lambda self, *args: publish(self, *args[:4], float("inf")))


def names_are_not_sealed(patch: Patch) -> None:
    """after an ambiguous rename nothing keeps a late create from taking the name again"""
    patch.setattr(rename, "seal", lambda *_: True)


def an_interrupted_fsync_is_made_again(patch: Patch) -> None:
    """fsync is repeated on the same file for as long as it says EINTR, as `os.fsync` does"""
    fsync = SimHost.fsync

    def patient(self: SimHost, fd: int) -> None:
        while True:
            try:
                return fsync(self, fd)
            except InterruptedError:
                continue

    patch.setattr(SimHost, "fsync", patient)


def gone_is_taken_for_moved_on(patch: Patch) -> None:
    """a source that is gone is taken for published, whether the message is anywhere or not"""
    patch.setattr(OpenDirectories, "moved_on", lambda *_: True)


def second_names_are_left(patch: Patch) -> None:
    """a rename that says it was done is believed, though it was of one name of a file onto another"""
    patch.setattr(rename, "remove_second_name", lambda *_: None)


def directories_are_held(patch: Patch) -> None:
    """directories stay open between two deliveries on a mount that is blinded by that"""
    patch.setattr(handles, "quirks", lambda _: Quirks(staging="new"))
