"""Mutants of the queue that believe a fault: each is killed by a test of the rule that it breaks."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from maildir_safe._queue.claim import Claim
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.schedule import Schedule
from maildir_safe._queue.store import item_file, spool
from maildir_safe._queue.store.item_file import Damaged, ItemFile
from maildir_safe._queue.store.lease import Lease
from maildir_safe._queue.store.scanner import Scanner
from maildir_safe._queue.worker import Worker
from maildir_safe.errors import MaildirSafeError
from maildir_safe.testing.simfs import Fault
from tests.model import (
    test_queue_clocks as clocks,
    test_queue_remount as remount,
    test_queue_second_names as second_names,
    test_queue_short_reads as short_reads,
    test_queue_stuck_claims as stuck_claims,
    test_queue_unreadable as unreadable,
)
from tests.model.queue_world import Actor, Ledger, new_server

Patch = pytest.MonkeyPatch


def silence_is_the_end(patch: Patch) -> None:
    original = ItemFile.readinto

    def readinto(self: ItemFile, buffer: memoryview) -> int:
        try:
            return original(self, buffer)
        except OSError:
            self._left = 0
            return 0

    patch.setattr(ItemFile, "readinto", readinto)


def unreadable_is_damaged(patch: Patch) -> None:
    original = item_file._read

    def read(*args: Any) -> bytes:
        try:
            return original(*args)
        except OSError as error:
            raise Damaged(str(error)) from error

    patch.setattr(item_file, "_read", read)


def size_not_compared(patch: Patch) -> None:
    patch.setattr(spool, "has_second_name", lambda *_: False)


def second_names_not_seen(patch: Patch) -> None:
    patch.setattr(spool, "has_second_name", lambda *_: False)
    patch.setattr(Lease, "ended", lambda self, name: self.known.discard(name))


def path_not_looked_at(patch: Patch) -> None:
    patch.setattr(Queue, "_look_where_it_leads", lambda _: None)


def outcome_forgotten(patch: Patch) -> None:
    patch.setattr(Claim, "record_later", lambda *_: None)
    patch.setattr(Worker, "_remember", lambda *_: None)


def clock_alone(patch: Patch) -> None:
    def is_over(self: Schedule, tries: int, arrived: float, now: float, times: int = 1) -> bool:  # noqa: ARG001
        return now - arrived >= times * self.give_up

    patch.setattr(Schedule, "is_over", is_over)


def one_bucket_ends_the_pass(patch: Patch) -> None:
    def cannot_read(self: Scanner, name: str, error: OSError) -> None:  # noqa: ARG001
        raise error

    patch.setattr(Scanner, "_cannot_read", cannot_read)


def one_answer_is_believed(patch: Patch) -> None:
    patch.setattr(Lease, "_is_listed", lambda *_: False)


def cut_short() -> None:
    """An item that is short on disk is not delivered."""
    server = new_server()
    short_reads.put_long(server)
    [node] = [node for node in server.disk.nodes.values() if node.data.endswith(short_reads.LONG)]
    node.data = node.disk_data = node.data[:80]
    server.version += 1
    actor = Actor(server, Ledger())
    for claim in actor.claim():
        with suppress(MaildirSafeError):
            claim.ack_into(actor.maildir)
    assert not [path for path in server.files() if path.startswith("/mail/")], "half a message is delivered"


READ_AGAIN = Fault("read", errno.EAGAIN, nth=2)

FAULT_MUTANTS: list[tuple[str, Callable[[Patch], None], Callable[[], None], str, str]] = [
    (
        "silence of read taken for the end",
        silence_is_the_end,
        partial(short_reads.test_what_a_courier_reads_line_by_line_is_whole, READ_AGAIN),
        "half a message is sent",
        "Subject: long",
    ),
    (
        "unreadable taken for damaged",
        unreadable_is_damaged,
        partial(unreadable.test_a_worker_moves_nothing_to_corrupt_that_it_could_not_read, 1, errno.EIO),
        "good mail is put into corrupt/",
        "corrupt",
    ),
    (
        "size not compared before a rename",
        size_not_compared,
        cut_short,
        "half a message is delivered",
        "half a message",
    ),
    (
        "second names not seen",
        second_names_not_seen,
        partial(second_names.test_nor_is_it_delivered_again_once_a_reader_has_moved_the_first, "local"),
        "two copies in the Maildir",
        "'one': 2",
    ),
    (
        "the spool's path not looked at again",
        path_not_looked_at,
        partial(remount.test_what_is_put_after_a_remount_is_where_the_path_leads, "local", "one by one"),
        "mail is accepted where nobody looks",
        "nobody will find it",
    ),
    (
        "an outcome that cannot be recorded is forgotten",
        outcome_forgotten,
        partial(
            stuck_claims.test_an_unlink_that_is_refused_for_long_after_the_message_was_sent, errno.EIO, 40
        ),
        "what was sent is sent again",
        "sent again|not tried again",
    ),
    (
        "given up by the clock alone",
        clock_alone,
        partial(clocks.test_the_first_temporary_failure_gives_nothing_up, 6 * clocks.DAY),
        "mail bounces at its first temporary failure",
        "told after one try",
    ),
    (
        "one bad bucket ends the pass",
        one_bucket_ends_the_pass,
        partial(stuck_claims.test_one_unreadable_bucket_does_not_starve_the_others, errno.EIO, "listdir"),
        "what is behind it waits for ever",
        "starved",
    ),
    (
        "one answer taken for a lost lease",
        one_answer_is_believed,
        partial(stuck_claims.test_a_heartbeat_that_is_listed_was_not_fenced, 1, errno.ENOENT),
        "`LeaseLost` where none was lost",
        "lost",
    ),
]
