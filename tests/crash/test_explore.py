"""Small histories on the simulated file system: every crash, every fault, every order of two hosts.

`PROVE=long` (as `make prove` sets it) takes the larger bounds. What was explored is printed at the
end of the run.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from maildir_safe._delivery import attempt
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.testing import simhistories as histories
from maildir_safe.testing.explore import Explorer, Figures, History
from maildir_safe.testing.simfs import PROFILES, Fault, Mode
from maildir_safe.testing.simworld import World

LONG = os.environ.get("PROVE") == "long"
SEED = 20261122
MODES: tuple[Mode, ...] = ("ordered", "atomic", "logged", "weak")

Note = Callable[[str, object], None]

SINGLE = [
    histories.deliver_one,
    histories.deliver_two,
    histories.deliver_again,
    histories.make_and_deliver,
    histories.read_flag_move,
    histories.janitor,
    histories.server_was_down,
]
HOSTS = [histories.two_writers, histories.writer_and_reader, histories.two_readers, histories.janitor]


EXPLORED: dict[str, Figures] = {}


def note(explorer: Explorer, bounds: str) -> None:
    """Remember for the summary; the long run prints every line."""
    EXPLORED[f"{explorer.report()}; {bounds}"] = explorer.figures


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("history", SINGLE)
def test_every_single_fault(history: History, profile: str) -> None:
    # AFS cannot fsync a directory: nothing is promised, and what a crash may leave of nine names is too much
    crash = (history, profile) != (histories.make_and_deliver, "afs")
    explorer = Explorer(history, profile, crash=crash).single()
    assert explorer.figures.runs > 50
    note(explorer, "every fault, every crash")


@pytest.mark.parametrize("profile", PROFILES)
def test_one_message_every_pair_of_faults(profile: str) -> None:
    explorer = Explorer(histories.deliver_one, profile).pairs()
    assert explorer.figures.runs > 1500
    note(explorer, "every two faults, every crash")


@pytest.mark.parametrize("profile", PROFILES if LONG else ["local", "nfs3", "coda"])
def test_tried_again_with_an_id_pairs_of_faults(profile: str) -> None:
    every = 1 if LONG else 20
    explorer = Explorer(histories.deliver_again, profile).pairs(lambda number: number % every == 0)
    assert explorer.figures.runs > 200
    note(explorer, f"one in {every} of every two faults, every crash")


@pytest.mark.parametrize("profile", PROFILES if LONG else ["local", "nfs3", "smb", "coda"])
@pytest.mark.parametrize("history", [histories.make_and_deliver, histories.read_flag_move])
def test_pairs_of_faults_without_crashes(history: History, profile: str) -> None:
    every = 1 if LONG else 20
    explorer = Explorer(history, profile, crash=False).pairs(lambda number: number % every == 0)
    assert explorer.figures.runs > 200
    note(explorer, f"one in {every} of every two faults")


def test_a_claim_whose_reply_is_lost_while_a_directory_cannot_be_listed() -> None:
    """Found by the test above: one ESTALE was read as a directory that is gone, and so "not done"."""
    for nth in range(1, 12):
        faults = Fault("rename", errno.EIO, "done"), Fault("listdir", errno.ESTALE, nth=nth)
        world = Explorer(histories.read_flag_move, "nfs3").run(*faults)
        assert len(world.host("a").plan.hits) == 2


def test_a_second_name_that_a_cache_hides() -> None:
    """Found by the test above: a change is refused, and a cache hides the name that its first try made."""
    faults = Fault("rename", errno.EIO, "both"), Fault("rename", errno.ENOSPC, nth=2)
    world = Explorer(histories.read_flag_move, "smb", crash=False).run(*faults)
    assert len(world.host("a").plan.hits) == 2


@pytest.mark.parametrize("profile", PROFILES if LONG else ["local", "nfs3", "smb", "coda"])
@pytest.mark.parametrize("history", [histories.deliver_two, histories.read_flag_move])
def test_three_faults_sampled(history: History, profile: str) -> None:
    count = 2_000 if LONG else 100
    explorer = Explorer(history, profile, seed=SEED).sampled(count, faults=3)
    assert explorer.figures.runs == count + 1
    note(explorer, f"{count} times three faults, seed {SEED}, every crash")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("history", [histories.deliver_one, histories.deliver_two, histories.deliver_again])
def test_delivery_survives_every_kind_of_medium(history: History, mode: Mode) -> None:
    explorer = Explorer(history, "local", mode).single()
    assert explorer.figures.crashes > 100
    note(explorer, "every fault, every crash")


@pytest.mark.parametrize("profile", ["local", "nfs3", "coda"])
@pytest.mark.parametrize("mode", MODES)
def test_a_batch(profile: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "_SYNCFS_FROM", 2)  # so that two are enough for a syncfs
    explorer = Explorer(histories.deliver_batch, profile, mode)
    calls = {call.kind for call in explorer.run().server.history}
    assert ("syncfs" in calls) == (profile == "local")
    explorer.single()
    note(explorer, "every fault, every crash")


@pytest.mark.parametrize("profile", ["local", "coda"])
def test_staging_in_new(profile: str) -> None:
    def prepare(world: World) -> None:
        world.make = lambda path, host: Maildir(path, create=False, staging="new", fs=host)

    explorer = Explorer(histories.deliver_again, profile, prepare=prepare).single()
    assert explorer.figures.runs > 50
    note(explorer, "every fault, every crash, staging in new/")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("history", HOSTS)
def test_two_hosts_in_every_order(history: History, profile: str) -> None:
    every = 1 if LONG else 2
    explorer = Explorer(history, profile).switches(most=2, every=every)
    assert explorer.figures.runs > 20
    note(explorer, f"two switches, each at every {every}. call, every crash")


def test_flags_and_moves_on_btrfs() -> None:
    """Its fsync of a directory may keep both names of a renamed file; so both directories are synced."""
    explorer = Explorer(histories.read_flag_move, "btrfs", "logged")
    explorer.run()
    note(explorer, "every crash")
    with pytest.raises(AssertionError, match="I6"):
        Explorer(histories.read_flag_move, "local", "logged").run()


def test_what_a_medium_without_a_journal_costs_is_known(record_property: Note) -> None:
    """Deliveries survive `weak`; a change of flags does not: its rename may leave both names or none."""
    lost: list[str] = []

    def flags(world: World) -> None:
        world.deliver("one")
        world.flag("one", "S", "a")
        for choice in world.server.disk.choices():
            lost.append("".join(path.rpartition("/")[0] for path in world.server.disk.files_after(choice)))

    figures = Figures()
    explorer = Explorer(flags, "local", "weak", crash=False)
    explorer.figures = figures
    explorer.run()
    assert {place.count("/mail/cur") for place in lost} == {1}, "acknowledged: it is in cur/ whatever happens"
    assert any("/mail/new" in place for place in lost), "and may be in new/ as well"
    twice = sum("/mail/new" in place for place in lost)
    record_property("note", f"weak: after set_flags {twice} of {len(lost)} crashes show the message twice")


def test_the_explorer_itself_sees_a_loss() -> None:
    """A check that cannot fail is no check: a ledger that knows of a message nobody delivered."""

    def liar(world: World) -> None:
        world.deliver("one")
        world.ledger.begin("two", b"two", False).acked = 1

    with pytest.raises(AssertionError, match="two was acknowledged and is not there"):
        Explorer(liar, "local").run()


def test_a_violation_prints_its_history_and_faults() -> None:
    def liar(world: World) -> None:
        world.deliver("one")
        world.ledger.entries["one"].refused, world.ledger.entries["one"].acked = 1, 0

    with pytest.raises(AssertionError, match=r"(?s)I5.*faults: rename#1:EIO/none.*a  rename /mail/tmp/"):
        Explorer(liar, "local").run(Fault("rename"))


def test_what_was_explored(record_property: Note) -> None:
    """Notes the sums by profile and mode, with their bounds; nothing was cut short."""
    assert not [line for line, figures in EXPLORED.items() if figures.cut]
    sums: dict[str, list[int]] = {}
    for line, figures in EXPLORED.items():
        _, profile, mode, *_ = line.split()
        row = sums.setdefault(f"{profile:8} {mode:8}", [0, 0, 0, 0, 0])
        found = (1, figures.runs, figures.calls, figures.crashes, len(figures.states))
        row[:] = [old + new for old, new in zip(row, found, strict=True)]
        if LONG:
            record_property("note", line)
    for name, (count, runs, calls, crashes, states) in sums.items():
        work = f"{count:2} histories, {runs:6,} runs, {calls:9,} file calls, {crashes:9,} crashes"
        record_property("note", f"explored {name} {work}, {states:6,} distinct states, 0 violations")
    record_property("note", f"seed of what was sampled {SEED}; bounds: docs/explanation/proof.md")
