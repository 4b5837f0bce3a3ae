"""Who puts and claims looks into its own bucket first, and nobody else's items wait for that."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import Any

import pytest

from maildir_safe._delivery.partial import PartialPut
from maildir_safe._queue.queue import Queue
from maildir_safe.errors import LeaseLost, TemporaryError
from maildir_safe.testing.simfs import SimHost, SimServer
from tests.model.queue_world import SPOOL, new_server


def queue_at(server: SimServer, name: str) -> tuple[SimHost, Queue]:
    host = SimHost(server, name)
    return host, Queue(SPOOL, create=False, fs=host, heartbeat=False)


def put(queue: Queue, text: str) -> None:
    queue.put(text.encode(), "s@example.org", ["r@example.org"])


def take(queue: Queue, limit: int = 1) -> list[str]:
    taken = []
    for claim in queue.claim(limit):
        taken.append(claim.read().decode())
        claim.ack()
    return taken


def listings(host: SimHost, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is listed from now on, by descriptor."""
    listed: list[int] = []
    listdir = host.listdir

    def counted(dir_fd: int) -> list[str]:
        listed.append(dir_fd)
        return listdir(dir_fd)

    monkeypatch.setattr(host, "listdir", counted)
    return listed


def renames(host: SimHost, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is renamed from now on, or tried to be."""
    renamed: list[str] = []
    rename = host.rename

    def counted(src: str, dst: str, **directories: int) -> None:
        renamed.append(src)
        rename(src, dst, **directories)

    monkeypatch.setattr(host, "rename", counted)
    return renamed


def test_no_message_is_kept_for_a_claim_neither_a_stored_one_nor_a_refused_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, queue = queue_at(new_server(), "own")
    put(queue, "stored")
    target = queue._opened.writer.current()
    assert target is not None
    [[job]] = target._fresh
    assert job.chunks == ()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(host, "create", full)
    with pytest.raises(PartialPut):
        queue.put_many([(b"refused", "s@example.org", ["r@example.org"])] * 3)
    assert target._fresh == [[job], []]


def test_a_claim_after_a_put_lists_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    _, other = queue_at(server, "other")
    put(other, "other's")
    host, queue = queue_at(server, "own")
    assert take(queue, 9) == ["other's"]
    put(queue, "first")
    assert take(queue) == ["first"]
    listed = listings(host, monkeypatch)
    for text in ("second", "third"):
        put(queue, text)
        assert take(queue) == [text]
    assert listed == []


def test_what_was_returned_to_the_own_bucket_is_found_by_listing_that_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, queue = queue_at(new_server(), "own")
    put(queue, "own")
    [claim] = queue.claim()
    assert queue.claim() == []
    claim.release()
    listed = listings(host, monkeypatch)
    assert take(queue) == ["own"]
    target = queue._opened.writer.current()
    assert target is not None
    assert set(listed) == {target.dir_fd}


def test_what_was_put_long_ago_may_be_anybodys_and_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    put(queue, "first")
    assert take(queue, 9) == ["first"]
    for text in ("second", "third"):
        put(queue, text)
    assert sorted(take(other, 9)) == ["second", "third"]
    host.sleep(2.0)
    put(other, "other's")
    renamed = renames(host, monkeypatch)
    assert take(queue, 9) == ["other's"]
    assert len(renamed) == 1, "it tried for what others have had"


def test_others_items_are_claimed_however_many_of_its_own_a_process_has() -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    put(queue, "own")
    take(queue)
    waiting = {f"other's {n}" for n in range(5)}
    for text in sorted(waiting):
        put(other, text)
    until = host.monotonic() + 3.0  # a second of its own, then a pass over all: some 25 items at 20 a second
    while host.monotonic() < until:
        put(queue, "own")
        put(queue, "own")  # more than it claims
        waiting -= set(take(queue))
        host.sleep(0.05)
    assert not waiting


def test_what_is_left_to_claim_is_found_when_the_own_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    put(queue, "first")
    assert take(queue) == ["first"]
    for text in ("second", "third"):
        put(queue, text)
    assert take(queue) == ["second"]
    assert take(other) == ["third"]  # which the own listing still shows
    put(other, "other's")
    listed = listings(host, monkeypatch)
    assert take(queue) == ["other's"]
    assert len(listed) < 9, "it went on looking at its own"


def test_of_what_others_took_from_the_own_bucket_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    put(queue, "first")
    assert take(queue) == ["first"]
    queue.put_many([(b"own", "s@example.org", ["r@example.org"])] * 9)
    assert take(queue) == ["own"]
    assert len(take(other, 9)) == 8
    put(other, "other's")
    renamed = renames(host, monkeypatch)
    assert take(queue) == ["other's"]
    assert len(renamed) == 2


def test_between_looks_a_claim_does_not_look_after_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    host, queue = queue_at(new_server(), "own")
    looked: list[float] = []
    monkeypatch.setattr(queue._opened.consumer, "tend", lambda: looked.append(host.boottime()))
    for _ in range(9):
        queue.claim()
    assert len(looked) == 1
    host.sleep(300 / 12)
    queue.claim()
    assert len(looked) == 2


def test_who_was_fenced_while_it_was_suspended_claims_as_a_new_worker_at_once() -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    for text in ("one", "two"):
        put(queue, text)
    [held] = queue.claim()
    other.tend()
    server.advance(301.0)
    other.tend()
    monotonic = host.monotonic() - 301.0
    host.monotonic = lambda: monotonic  # type: ignore[method-assign]  # it stood still with the host
    assert len(take(queue, 9)) == 2
    with pytest.raises(LeaseLost):
        held.ack()


def test_who_has_learned_that_it_was_fenced_claims_as_a_new_worker_at_once() -> None:
    server = new_server()
    _, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    for text in ("one", "two"):
        put(queue, text)
    [held] = queue.claim()
    other._opened.consumer.monitor._fence(held._lease.worker, 0)
    other.tend()
    with pytest.raises(LeaseLost):
        held.ack()
    assert len(take(queue, 9)) == 2


def test_an_own_item_that_is_owed_to_nobody_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    _, other = queue_at(server, "other")
    put(queue, "failed")
    [claim] = queue.claim()
    claim.record_outcome("f")
    put(other, "other's")
    listed = listings(host, monkeypatch)
    assert take(queue) == ["other's"]
    assert len(listed) < 9, "it went on looking at its own"
    assert [claim.read() for claim in queue.claim(bounces=True)] == [b"failed"]


def refusing(host: SimHost, monkeypatch: pytest.MonkeyPatch, call: str, names: Callable[[str], bool]) -> None:
    """From now on a call on such names fails, and is not executed."""
    real = getattr(host, call)

    def refused(name: str, *rest: Any, **directories: Any) -> Any:
        if names(name):
            raise OSError(errno.EPERM, "refused")
        return real(name, *rest, **directories)

    monkeypatch.setattr(host, call, refused)


def test_what_cannot_be_claimed_does_not_hide_what_is_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    _, other = queue_at(server, "other")
    ids = other.put_many([(text.encode(), "s@example.org", ["r@example.org"]) for text in "abcd"])
    host, queue = queue_at(server, "worker")
    queue._opened.consumer.scanner._start = 0
    refusing(host, monkeypatch, "rename", lambda name: name.startswith(min(ids)))
    taken = []
    for _ in range(3):
        with contextlib.suppress(TemporaryError):
            taken += take(queue, 9)
    assert len(taken) == 3


def test_a_bucket_that_cannot_be_opened_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    for name in ("a", "b", "c"):
        put(queue_at(server, name)[1], name)
    host, queue = queue_at(server, "worker")
    queue._opened.consumer.scanner._start = 0
    bad = max(host.listdir(queue._opened.layout.fd["pending"]))
    refusing(host, monkeypatch, "open_dir", lambda name: name == bad)
    taken = []
    for _ in range(4):
        with contextlib.suppress(TemporaryError):
            taken += take(queue, 9)
    assert len(taken) == 2


def test_buckets_are_held_open_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    server = new_server()
    for number in range(20):
        put(queue_at(server, f"host{number}")[1], str(number))
    host, queue = queue_at(server, "worker")
    assert queue.claim(0) == []
    opened, most = set[int](), 0
    open_dir, close = host.open_dir, host.close

    def opens(path: str, dir_fd: int | None = None) -> int:
        nonlocal most
        fd = open_dir(path, dir_fd)
        opened.add(fd)
        most = max(most, len(opened))
        return fd

    def closes(fd: int) -> None:
        opened.discard(fd)
        close(fd)

    monkeypatch.setattr(host, "open_dir", opens)
    monkeypatch.setattr(host, "close", closes)
    assert len(take(queue, 99)) == 20
    assert most <= 3


def test_what_could_not_be_filed_again_is_given_back_by_the_next_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = new_server()
    host, queue = queue_at(server, "own")
    now = host.time_ns() // 10**9
    due = (now // 3600 + 3) * 3600 + 1800
    queue.put_many([(b"x", "s@example.org", ["r@example.org"])] * 3, not_before=due)
    assert queue.claim() == []
    host.sleep(due - 1790 - now)  # the hour's bucket is due, the items are not
    lease = queue._opened.consumer.registered()
    refusing(host, monkeypatch, "rename", lambda name: name in host.listdir(lease.dir_fd))
    with pytest.raises(TemporaryError):
        queue.claim(9)
    monkeypatch.undo()
    held = host.listdir(lease.dir_fd)
    assert held
    queue._opened.spool.tidy(lease)
    assert host.listdir(lease.dir_fd) == []


def test_a_bucket_is_counted_before_it_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    host, queue = queue_at(new_server(), "own")
    counted, rename = [], host.rename

    def looks(src: str, dst: str, **directories: int) -> None:
        counted.append(queue._opened.writer.target("now").count)
        rename(src, dst, **directories)

    monkeypatch.setattr(host, "rename", looks)
    queue.put_many([(b"x", "s@example.org", ["r@example.org"])] * 5)
    put(queue, "x")
    assert counted == [5, 5, 5, 5, 5, 6]


def test_what_is_put_for_later_is_not_remembered() -> None:
    host, queue = queue_at(new_server(), "own")
    queue.put(b"x", "s@example.org", ["r@example.org"], not_before=host.time_ns() / 1e9 + 3600)
    assert [target._fresh for target in queue._opened.writer._targets.values()] == [[]]
