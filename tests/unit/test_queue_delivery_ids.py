"""A put with a delivery id that is tried again is one item, whatever has become of the first try."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter

import pytest

from maildir_safe import Queue
from maildir_safe._queue.store.delivery_ids import key_of
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfaults import Kind
from maildir_safe.testing.simfs import Fault, SimHost, SimServer
from tests.model.queue_world import SPOOL, faults_of, new_server

MESSAGE = b"Subject: one\n\n"


def queue_at(server: SimServer, name: str, *faults: Fault) -> Queue:
    return Queue(SPOOL, create=False, fs=SimHost(server, name, faults=faults), heartbeat=False)


def put(queue: Queue, delivery_id: str | None = "envid-1") -> str:
    return queue.put(MESSAGE, "s@x.org", ["a@x.org"], delivery_id=delivery_id)


def test_a_second_try_puts_nothing_and_gives_the_same_item() -> None:
    server = new_server()
    first = put(queue_at(server, "a"))
    assert put(queue_at(server, "b")) == first
    assert queue_at(server, "c").stats()["pending"] == 1


def test_a_second_try_is_recognised_after_the_first_was_delivered() -> None:
    server = new_server()
    queue = queue_at(server, "a")
    first = put(queue)
    [claim] = queue.claim()
    claim.ack()
    assert put(queue_at(server, "b")) == first
    assert queue.stats()["pending"] == 0


def test_another_id_is_another_item_and_none_is_none() -> None:
    queue = queue_at(new_server(), "a")
    assert len({put(queue), put(queue, "envid-2"), put(queue, None), put(queue, None)}) == 4


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_id_is_refused(empty: str) -> None:
    """It caught messages that were taken for one because their ids were all empty."""
    queue = queue_at(new_server(), "a")
    with pytest.raises(ValueError, match="empty"):
        put(queue, empty)
    with pytest.raises(ValueError, match="empty"):
        asyncio.run(queue.put_async(MESSAGE, "s@x.org", ["a@x.org"], delivery_id=empty))
    assert queue.stats()["pending"] == 0


@pytest.mark.parametrize("times", [1, 2, 99])
def test_a_bucket_that_is_said_not_to_be_there_hides_no_earlier_item(times: int) -> None:
    """It caught a second copy, after both searches were told so of a bucket that was there."""
    server = new_server()
    first = put(queue_at(server, "a", Fault("create", errno.EIO, times=9, match=".done")))
    queue = queue_at(server, "b", Fault("open_dir", errno.ENOENT, times=times, match="now."))
    with pytest.raises(TemporaryError):
        put(queue)
    assert put(queue_at(server, "c")) == first
    assert queue_at(server, "d").stats()["pending"] == 1


def test_a_seal_in_the_place_of_an_item_is_no_earlier_item() -> None:
    """A late rename may have moved it there, where a server does not check permissions."""
    server = new_server()
    with pytest.raises(TemporaryError):
        put(queue_at(server, "a", Fault("rename", errno.EIO, times=99, match=",o")))
    host = SimHost(server, "mover")
    pending = host.open_dir(f"{SPOOL}/pending")
    bucket = host.open_dir(next(name for name in host.listdir(pending) if name.startswith("now.")), pending)
    host.mkdir(f"1700000000.M000001D{key_of('envid-1')}.vm,S=9,g0,t0,n0,o", bucket)
    put(queue_at(server, "b"))
    assert sum(data.endswith(MESSAGE) for path, data in server.files().items() if "/pending/" in path) == 1


def test_an_id_is_forgotten_after_a_week() -> None:
    server = new_server()
    queue = queue_at(server, "a")
    first = put(queue)
    for claim in queue.claim():
        claim.ack()
    server.advance(9 * 86400.0)
    part = next(path for path in server.files() if path.startswith(f"{SPOOL}/ids/")).split("/")[3]
    for number in range(2000):  # until another id is in the same part
        put(queue, f"other-{number}")
        if not any(path.startswith(f"{SPOOL}/ids/{part}/") and first in str(data) for path, data in
                   server.files().items()):  # fmt: skip
            break
        server.advance(1.0)
    else:
        pytest.fail("it is kept for ever")


def test_one_fault_anywhere_in_the_first_try_makes_no_second_item() -> None:
    """With every fault that every call of it may have; the client tries again until it is told."""

    def run(*faults: Fault) -> SimServer:
        server = new_server("nfs4")
        try:
            put(queue_at(server, "a", *faults))
        except (TemporaryError, OSError):
            server.settle()
            put(queue_at(server, "b"))
        server.settle()
        return server

    for fault in faults_of(run(), "a"):
        if fault.kind == "listdir" and not fault.error:
            continue
        server = run(fault)
        queue = queue_at(server, "last")
        bodies = Counter(claim.read() for _ in range(3) for claim in queue.claim(9))
        assert bodies == {MESSAGE: 1}, fault
        assert not queue.stats()["corrupt"], fault


def test_a_crash_between_putting_and_saying_so_makes_no_second_item() -> None:
    server = new_server()
    found: list[SimServer] = []
    server.after_call = lambda _: found.extend(server.crashed(choice) for choice in server.disk.choices())
    put(queue_at(server, "a"))
    server.after_call = None
    for after in found:
        queue = queue_at(after, "b")
        put(queue)
        assert queue.stats()["pending"] == 1
    assert len(found) > 20


def test_the_worker_that_was_faster_than_the_answer_leaves_word() -> None:
    """The putter dies after the put; the item is delivered before the client tries again."""
    server = new_server()
    dying = Fault("create", errno.EIO, times=9, match=".done")
    first = put(queue_at(server, "a", dying))
    queue = queue_at(server, "worker")
    [claim] = queue.claim()
    claim.ack()
    assert put(queue_at(server, "b")) == first
    assert queue.stats()["pending"] == 0


@pytest.mark.parametrize("kind", ["fsync", "fsync_dir"])
def test_a_mark_that_the_first_attempt_did_not_make_durable_is_not_trusted(kind: Kind) -> None:
    """The retry of the same second took the mark as it was, and a crash then took the mark away."""
    server = new_server()
    with pytest.raises(TemporaryError):
        put(queue_at(server, "a", Fault(kind, errno.EIO, match="/ids/")))
    found: list[SimServer] = []
    server.after_call = lambda _: found.extend(server.crashed(choice) for choice in server.disk.choices())
    put(queue_at(server, "b"))
    server.after_call = None
    for after in found:
        queue = queue_at(after, "c")
        put(queue)
        assert queue.stats()["pending"] == 1
    assert len(found) > 20


def test_an_empty_done_mark_does_not_keep_the_worker_from_leaving_a_whole_one() -> None:
    """The putter dies between creating the mark and writing it; then the item is delivered."""
    server = new_server()
    first = put(queue_at(server, "a", Fault("write", errno.EIO, times=9, match=".done")))
    [claim] = queue_at(server, "worker").claim()
    claim.ack()
    assert put(queue_at(server, "b")) == first
    assert queue_at(server, "c").stats()["pending"] == 0


@pytest.mark.parametrize("nth", range(1, 7))
@pytest.mark.parametrize("where", ["/spool/pending", "/spool/pending/now"])
def test_an_item_that_one_listing_leaves_out_is_no_second_item(where: str, nth: int) -> None:
    """One listing omitted the item of a first try that had no answer: the second try put it again."""
    server = new_server("nfs4")
    with pytest.raises(TemporaryError):
        put(queue_at(server, "a", Fault("fsync_dir", errno.EIO, match="/pending/", times=9)))
    put(queue_at(server, "b", Fault("listdir", 0, nth=nth, match=where, hides=",o", quiet=True)))
    assert queue_at(server, "c").stats()["pending"] == 1


def test_an_item_that_is_delivered_during_the_search_is_no_second_item() -> None:
    server = new_server()
    with pytest.raises(TemporaryError):
        put(queue_at(server, "a", Fault("fsync_dir", errno.EIO, match="/pending/", times=9)))
    worker, again = queue_at(server, "w"), queue_at(server, "b")
    ids, search = again._opened.delivery_log.ids, again._item_put_with

    def delivered_meanwhile(key: str) -> str | None:
        for claim in worker.claim():
            claim.ack()
        return search(key)

    key = key_of("envid-1")
    ident, stop = again._opened.writer.id_with_key(key), again._opened.stop_other_try
    assert ids.begin(key, ident, stop, delivered_meanwhile)
