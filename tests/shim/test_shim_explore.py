"""The explorer on programs under the shim, and the mutants that it kills."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import shim_world as worlds

from maildir_safe._shim import decisions, pairs
from maildir_safe._shim.actor import Actor
from maildir_safe._shim.ghosts import Ghosts
from maildir_safe._shim.handoff import LinkHandoff, Result
from maildir_safe.testing.explore import Explorer, History
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simfs import Fault

Patch = pytest.MonkeyPatch
Note = Callable[[str, object], None]


@pytest.mark.parametrize("profile", ["nolink", "nolink-local", "vfat", "afs", "local", "nfs3"])
def test_every_fault_and_every_crash(profile: str, record_property: Note) -> None:
    report = Explorer(worlds.one, profile).single().report()
    record_property("note", f"shim: {report}")


@pytest.mark.parametrize("profile", ["nolink", "afs", "nfs3"])
def test_three_faults_at_random(profile: str, record_property: Note) -> None:
    explorer = Explorer(worlds.one, profile, crash=False).sampled(150)
    record_property("note", f"shim: {explorer.report()}")


@pytest.mark.parametrize("profile", ["nolink", "afs"])
def test_two_hosts_at_once(profile: str, record_property: Note) -> None:
    explorer = Explorer(worlds.two_hosts, profile, crash=False).switches(1)
    record_property("note", f"shim: {explorer.report()}")


@pytest.mark.parametrize(
    "history", [worlds.same_name, worlds.a_lock, worlds.a_name_that_comes_back, worlds.unlinked_twice]
)
@pytest.mark.parametrize("profile", ["nolink", "nolink-local", "local"])
def test_histories(history: History, profile: str) -> None:
    Explorer(history, profile, crash=False).run()


def a_lock_is_renamed(patch: Patch) -> None:
    """A link inside one directory is a handoff, too."""
    match = pairs.Pairs.match
    patch.setattr(
        pairs.Pairs, "match", lambda self, src, dst: "lock" if src == dst else match(self, src, dst)
    )
    link = decisions.Decisions.link

    def changed(self, actor, src, dst, *rest):  # type: ignore[no-untyped-def]
        if src.identity == dst.identity:
            dst.identity = (0, 0)
        return link(self, actor, src, dst, *rest)

    patch.setattr(decisions.Decisions, "link", changed)


def an_unlink_is_swallowed(patch: Patch) -> None:
    """A ghost answers without a look at whether the name is there again."""
    patch.setattr(Actor, "unlink", lambda self, place: errno.ENOENT)  # noqa: ARG005


def the_target_is_replaced(patch: Patch) -> None:
    """The target is not looked for, and the kernel is not asked to keep it."""
    patch.setattr(LinkHandoff, "_exists", lambda self, dir_fd, name: False)  # noqa: ARG005
    patch.setattr(
        LinkHandoff,
        "_is_one_file",
        lambda self, src_dir, src, dst_dir, dst: False,  # noqa: ARG005
    )


def told_before_the_fsync(patch: Patch) -> None:
    """The program is told before the directory's fsync."""
    patch.setattr(Actor, "_sync", lambda self, src, dst: 0)  # noqa: ARG005


def a_ghost_for_ever(patch: Patch) -> None:
    """A ghost answers as often as it is asked."""
    patch.setattr(Ghosts, "settle", lambda self, ghost, used: setattr(ghost, "taken", False))  # noqa: ARG005


def refused_without_withdrawing(patch: Patch) -> None:
    """A rename that failed is told failed, though it may be executed later."""
    patch.setattr(
        LinkHandoff,
        "_withdraw",
        lambda self, src_dir, src, refused, code: Result(code, "refused"),  # noqa: ARG005
    )
    patch.setattr(Actor, "unlink", lambda self, place: 0)  # noqa: ARG005 - the program was killed before


def an_error_is_believed(patch: Patch) -> None:
    """What the rename says is passed on, and nobody looks."""

    def bare(self, src_dir, src, dst_dir, dst, private):  # type: ignore[no-untyped-def]  # noqa: ARG001
        try:
            self._fs.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
        except OSError as error:
            return Result(error.errno, "refused")
        return Result(0, "renamed", moved=True)

    patch.setattr(LinkHandoff, "_rename", bare)


def a_lost_link_is_believed(patch: Patch) -> None:
    """Where links work, an error from link is passed on though both names are the file."""
    patch.setattr(
        LinkHandoff,
        "_is_one_file",
        lambda self, src_dir, src, dst_dir, dst: False,  # noqa: ARG005
    )


def a_failed_fsync_is_ignored(patch: Patch) -> None:
    """An error of the directory's fsync is not told."""
    sync = Actor._sync

    def ignored(self, src, dst):  # type: ignore[no-untyped-def]
        sync(self, src, dst)
        return 0

    patch.setattr(Actor, "_sync", ignored)


LATE = (Fault("rename", errno.EIO, "late", times=9, delay=300.0, match="/mail/new"),)
MUTANTS: list[tuple[Callable[[Patch], None], History, str, tuple[Fault, ...], str]] = [
    (a_lock_is_renamed, worlds.a_lock, "nolink", (), "I2"),
    (an_unlink_is_swallowed, worlds.a_name_that_comes_back, "nolink", (), "I5"),
    (the_target_is_replaced, worlds.same_name, "nolink", (), "I1"),
    (told_before_the_fsync, worlds.one, "nolink", (), "I1"),
    (a_ghost_for_ever, worlds.unlinked_twice, "nolink", (), "I5"),
    (refused_without_withdrawing, worlds.one, "nolink", LATE, "I5"),
    (an_error_is_believed, worlds.one, "nolink", (Fault("rename", errno.EIO, "done"),), "I5"),
    (a_lost_link_is_believed, worlds.one, "local", (Fault("link", errno.EEXIST, "done"),), "I5"),
    (a_failed_fsync_is_ignored, worlds.one, "nolink", (Fault("fsync_dir"),), "I1"),
]


@pytest.mark.parametrize(
    ("mutant", "history", "profile", "faults", "name"), MUTANTS, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_mutant_is_killed(
    mutant: Callable[[Patch], None], history: History, profile: str, faults: tuple[Fault, ...], name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    Explorer(history, profile).run(*faults)  # the real code passes
    mutant(monkeypatch)
    with pytest.raises(Violation) as caught:
        Explorer(history, profile).run(*faults)
    assert caught.value.name == name, str(caught.value)
