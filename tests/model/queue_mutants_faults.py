"""Mutants of the queue that believe a fault: each is killed by a test of the rule that it breaks."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from maildir_safe._queue.open_spool import OpenSpool
from maildir_safe._queue.store import item_file, spool
from maildir_safe._queue.store.delivery_log import DeliveryLog
from maildir_safe._queue.store.item_file import Damaged
from maildir_safe._queue.store.lease import Lease
from maildir_safe.errors import MaildirSafeError
from tests.model import (
    test_queue_second_names as second_names,
    test_queue_short_reads as short_reads,
    test_queue_stuck_claims as stuck_claims,
    test_queue_two_tries as two_tries,
    test_queue_unreadable as unreadable,
)
from tests.model.queue_world import Actor, Ledger, new_server

Patch = pytest.MonkeyPatch


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
    patch.setattr(Lease, "forget", lambda self, name: self.held.discard(name))


def the_name_in_pending_stays(patch: Patch) -> None:
    patch.setattr(spool, "keep_one_name", lambda *_: True)


def one_answer_is_believed(patch: Patch) -> None:
    patch.setattr(Lease, "_is_listed", lambda *_: False)


def the_other_try_goes_on(patch: Patch) -> None:
    patch.setattr(OpenSpool, "stop_other_try", lambda *_: None)


def marked_after_it_left(patch: Patch) -> None:
    patch.setattr(DeliveryLog, "before_removal", lambda *_: None)


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


FAULT_MUTANTS: list[tuple[str, Callable[[Patch], None], Callable[[], None], str, str]] = [
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
        "the name left in pending/ not removed",
        the_name_in_pending_stays,
        partial(
            second_names.test_an_item_whose_old_name_in_pending_stayed_is_relayed_once_and_leaves_nothing,
            "local",
        ),
        "a message is relayed twice",
        "one more item",
    ),
    (
        "one answer taken for a lost lease",
        one_answer_is_believed,
        partial(stuck_claims.test_a_heartbeat_that_is_listed_was_not_fenced, 1, errno.ENOENT),
        "`LeaseLost` where none was lost",
        "lost",
    ),
    (
        "another try of a put is not stopped",
        the_other_try_goes_on,
        partial(two_tries.one_stands_still, two_tries.TwoTries),
        "two items of two tries",
        "2 copies",
    ),
    (
        "a delivery id not marked before its item leaves",
        marked_after_it_left,
        partial(two_tries.one_stands_still, two_tries.Delivered),
        "a second try puts a delivered item again",
        "2 copies",
    ),
]
