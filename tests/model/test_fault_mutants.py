"""What was learnt of faults, unlearnt again: a few lines against the real code, and the test that notices.

Each mutant makes one mistake that the code once made. The tests are those of the simulator that showed it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from maildir_safe._check.fsck import SpoolCheck
from maildir_safe._fs.quirks import quirks
from maildir_safe._handoff.rename import Handoff
from maildir_safe._mailboxes import Mailboxes
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.sent import Sent
from maildir_safe._queue.store.item_file import ItemFile
from maildir_safe._queue.store.layout import Layout
from maildir_safe._queue.store.scanner import Scanner
from maildir_safe.errors import TemporaryError
from maildir_safe.testing import simclient, simhistories as histories
from maildir_safe.testing.explore import Explorer
from maildir_safe.testing.simfaults import REPEATED_BY_PYTHON
from maildir_safe.testing.simfs import Fault
from tests.crash import (
    test_coda_holders as holders,
    test_permanent_refusals as refusals,
    test_repeated_calls as repeated,
    test_second_names as second_names,
    test_spurious_answers as spurious,
)
from tests.model import (
    test_queue_clocks as clocks,
    test_queue_hosts as hosts,
    test_queue_remount as remount,
    test_queue_second_names as queue_second_names,
    test_queue_short_reads as short_reads,
    test_queue_stuck_claims as stuck,
    test_queue_unreadable as unreadable,
)

PAGE = Path(__file__).parents[2] / "docs/development/mutants.md"

pytestmark = pytest.mark.usefixtures("collect_between_runs_only")
collect_between_runs_only = hosts.collect_between_runs_only

Patch = pytest.MonkeyPatch

HANDOFF, SPOOL = "maildir_safe._handoff.rename", "maildir_safe._queue.store.spool"


# -- calls that repeat themselves -----------------------------------------------------------


def fsync_made_again(patch: Patch) -> None:
    patch.setattr(simclient, "REPEATED_BY_PYTHON", REPEATED_BY_PYTHON | {"fsync", "fsync_dir"})


def names_not_sealed(patch: Patch) -> None:
    patch.setattr(f"{HANDOFF}.seal", lambda *_: True)


def an_interrupted_fsync() -> None:
    Explorer(histories.deliver_one, "nfs4").run(Fault("fsync", errno.EINTR))


def late_create_and_rename() -> None:
    repeated.test_a_late_create_and_a_late_rename_leave_the_published_message(
        histories.deliver_one, errno.ESTALE, "nfs4"
    )


# -- second names, held directories, remounts -----------------------------------------------


def rename_believed(patch: Patch) -> None:
    patch.setattr(f"{SPOOL}.has_second_name", lambda *_: False)


def second_name_left(patch: Patch) -> None:
    patch.setattr(f"{HANDOFF}.remove_second_name", lambda *_: None)


def a_second_name_in_new() -> None:
    queue_second_names.test_a_claimed_item_that_is_a_second_name_of_the_message_in_new("gluster")


def directories_held_on_coda(patch: Patch) -> None:
    patch.setitem(vars(quirks("coda")), "open_directories_stay_stale", False)


def path_not_compared(patch: Patch) -> None:
    patch.setattr(Layout, "is_detached", lambda _: False)


# -- reads -----------------------------------------------------------------------------------


def silence_is_the_end(patch: Patch) -> None:
    original = ItemFile.readinto

    def readinto(self: ItemFile, buffer: memoryview) -> int:
        try:
            return original(self, buffer)
        except BlockingIOError:
            return 0

    patch.setattr(ItemFile, "readinto", readinto)


def unreadable_is_damaged(patch: Patch) -> None:
    original = SpoolCheck._what_is_wrong

    def what_is_wrong(self: SpoolCheck, listed: Any) -> str:
        try:
            return original(self, listed)
        except (OSError, TemporaryError) as error:
            return f"cannot be read: {error}"

    patch.setattr(SpoolCheck, "_what_is_wrong", what_is_wrong)


# -- workers ---------------------------------------------------------------------------------


def given_up_by_the_clock(patch: Patch) -> None:
    def is_over(self: Schedule, _: int, arrived: float, now: float, times: int = 1) -> bool:
        return now - arrived >= times * self.give_up

    patch.setattr(Schedule, "is_over", is_over)


def claims_not_let_go(patch: Patch) -> None:
    patch.setattr(Claim, "let_go", lambda _: None)


def forgotten_that_it_was_sent(patch: Patch) -> None:
    patch.setattr(Claim, "record_later", lambda self, *_: self.let_go())
    patch.setattr(Sent, "remember", lambda *_: None)


def one_bucket_ends_the_pass(patch: Patch) -> None:
    def cannot_read(_: Scanner, name: str, error: OSError) -> None:
        raise OSError(error.errno, f"pending/{name}")

    patch.setattr(Scanner, "_cannot_read", cannot_read)


# -- answers that are wrong --------------------------------------------------------------------


def one_ENOENT_believed(patch: Patch) -> None:
    patch.setattr(Mailboxes, "_is_absent", lambda _, __, error: error.errno == errno.ENOENT)


def absent_is_moved_on(patch: Patch) -> None:
    patch.setattr(Handoff, "_has_moved_on", lambda *_: True)


class Mutant(NamedTuple):
    """A mistake, and the check that fails then, saying what matches `says`."""

    name: str
    breaks: Callable[[Patch], None]
    check: Callable[[], None]
    shows: str
    says: str


EAGAIN = Fault("read", errno.EAGAIN, nth=3)
UNREAD = Fault("read", errno.EIO, times=2, match="/spool/pending")
ENOENT = Fault("open_dir", errno.ENOENT)

MUTANTS = [
    Mutant(
        "an interrupted fsync is made again, as `os.fsync` does it",
        fsync_made_again,
        an_interrupted_fsync,
        "an empty message is published",
        "I3",
    ),
    Mutant(
        "a draft's name is left free after an ambiguous rename",
        names_not_sealed,
        late_create_and_rename,
        "a late create and a late rename empty a published message",
        "I1|I3",
    ),
    Mutant(
        "a rename that returned is believed",
        rename_believed,
        a_second_name_in_new,
        "delivered over and over, and never done",
        "still claimed",
    ),
    Mutant(
        "a second name is left where it is",
        second_name_left,
        second_names.test_flags_of_a_message_that_has_the_other_name_already,
        "a message is there twice",
        "I6",
    ),
    Mutant(
        "directories are held open on Coda",
        directories_held_on_coda,
        partial(holders.test_two_clients_deliver_and_nobody_is_refused, 30.0),
        "two clients refuse each other's mail",
        "refused though nothing goes wrong",
    ),
    Mutant(
        "what the path leads to is not compared with what is held",
        path_not_compared,
        partial(remount.test_what_is_put_after_a_remount_is_where_the_path_leads, "local", "one by one"),
        "accepted into a file system that is detached",
        "nobody will find it",
    ),
    Mutant(
        "EAGAIN is taken for the end of the file",
        silence_is_the_end,
        partial(short_reads.test_what_a_courier_reads_line_by_line_is_whole, EAGAIN),
        "a part of a message is relayed, and the item removed",
        r"assert \[b'Subject",
    ),
    Mutant(
        "what cannot be read is taken for damaged",
        unreadable_is_damaged,
        partial(unreadable.test_fsck_moves_nothing_that_it_could_not_read, UNREAD),
        "`fsck --fix` moves healthy mail to corrupt/",
        "cannot be read",
    ),
    Mutant(
        "an item is given up by the clocks of two hosts",
        given_up_by_the_clock,
        partial(clocks.test_the_first_temporary_failure_gives_nothing_up, 30 * clocks.DAY),
        "its sender is told at the first failure",
        "told after one try",
    ),
    Mutant(
        "claims return only when they are collected",
        claims_not_let_go,
        partial(stuck.test_an_item_that_cannot_be_read_for_a_while_returns, errno.EIO, "open"),
        "an item stays claimed",
        "never came back",
    ),
    Mutant(
        "that a message was sent is forgotten",
        forgotten_that_it_was_sent,
        partial(
            stuck.test_an_unlink_that_is_refused_for_long_after_the_message_was_sent, errno.EIO, 40
        ),
        "it is sent again",
        "sent again",
    ),
    Mutant(
        "a bucket that cannot be read ends the pass",
        one_bucket_ends_the_pass,
        partial(stuck.test_one_unreadable_bucket_does_not_starve_the_others, errno.EIO, "listdir"),
        "the other buckets starve",
        "starved",
    ),
    Mutant(
        "one ENOENT is believed",
        one_ENOENT_believed,
        partial(refusals.test_no_single_wrong_answer_refuses_a_mailbox_that_is_there, ENOENT),
        "550 for a mailbox that is there",
        "'5' in '24'",
    ),
    Mutant(
        "what is neither in tmp/ nor in new/ is taken for read",
        absent_is_moved_on,
        partial(spurious.test_a_file_that_another_removed_from_tmp_is_not_delivered, "local", "fsync"),
        "acknowledged, and removed by a janitor before",
        "acked",
    ),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.breaks.__name__)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: Patch) -> None:
    mutant.check()  # the real code passes
    mutant.breaks(monkeypatch)
    with pytest.raises(AssertionError, match=mutant.says):
        mutant.check()


def table() -> str:
    """The mutants and what kills them, as a table for docs/development/mutants.md."""
    rows = [f"| {m.name} | `{_scenario(m.check)}` | {m.shows} |" for m in MUTANTS]
    return "\n".join(["| mutant of faults | killed by | what goes wrong |", "|---|---|---|", *rows])


def _scenario(check: Callable[[], None]) -> str:
    name = check.args[0].__name__ if isinstance(check, partial) and callable(check.args[0]) else ""
    return name or str(getattr(check, "func", check).__name__).removeprefix("test_")


def test_the_published_table_is_current(record_property: Callable[[str, object], None]) -> None:
    assert table() in PAGE.read_text(), "docs/development/mutants.md is old: paste what `table()` gives"
    record_property(
        "note", f"mutants of faults: {len(MUTANTS)} of {len(MUTANTS)} killed (docs/development/mutants.md)"
    )
