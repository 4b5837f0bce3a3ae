"""Threads that share one queue: an item is in the hands of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from maildir_safe._queue.claim import Claim
from maildir_safe._queue.queue import Queue
from maildir_safe.testing.simfs import SimHost
from tests.model.queue_world import SPOOL, new_server


@pytest.fixture
def host() -> SimHost:
    return SimHost(new_server(), "mx")


@pytest.fixture
def queue(host: SimHost) -> Queue:
    queue = Queue(SPOOL, create=False, fs=host, heartbeat=False)
    queue.put(b"one", "s@example.org", ["r@example.org"])
    return queue


def renames_once(host: SimHost, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Before the next rename, what another thread does at that moment."""
    rename = host.rename

    def interrupted(src: str, dst: str, **directories: int) -> None:
        monkeypatch.setattr(host, "rename", rename)
        meanwhile()
        rename(src, dst, **directories)

    monkeypatch.setattr(host, "rename", interrupted)


def test_an_item_that_another_thread_is_claiming_is_not_claimed_twice(
    host: SimHost, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Claim] = []
    assert queue.claim(9)[0].release() is None  # registers the worker: the next rename is a claim
    renames_once(host, monkeypatch, lambda: others.extend(queue.claim(9)))
    mine = queue.claim(9)
    assert [claim.read() for claim in mine + others] == [b"one"]


def test_an_item_that_was_dropped_and_is_claimed_while_it_is_given_back(
    host: SimHost, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    [claim] = queue.claim()
    lease = claim._lease
    del claim
    others: list[Claim] = []
    renames_once(host, monkeypatch, lambda: others.extend(queue.claim(9)))
    queue._opened.spool.tidy(lease)
    others.extend(queue.claim(9))
    assert [claim.read() for claim in others] == [b"one"]


def test_a_thread_that_finds_nothing_else_does_not_look_for_ever(
    host: SimHost, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    [claim] = queue.claim()
    claim.release()
    assert [claim.item.gen for claim in queue.claim()] == [1]  # dropped at once: given back with the renewal
    queue._opened.spool.tidy(queue._opened.consumer.lease)  # type: ignore[arg-type]
    looked = 0
    listdir = host.listdir

    def counted(dir_fd: int) -> list[str]:
        nonlocal looked
        looked += 1
        return listdir(dir_fd)

    def other_thread() -> None:
        monkeypatch.setattr(host, "listdir", counted)
        assert queue.claim(9) == []

    renames_once(host, monkeypatch, other_thread)
    assert [claim.read() for claim in queue.claim(9)] == [b"one"]
    assert looked < 20


def test_what_an_interrupted_claim_had_taken_is_given_back(
    host: SimHost, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = queue._opened.consumer.registered()
    rename = host.rename

    def interrupted(src: str, dst: str, **directories: int) -> None:
        rename(src, dst, **directories)
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        queue.claim(9)
    monkeypatch.undo()
    assert host.listdir(lease.dir_fd) != []
    queue._opened.spool.tidy(lease)
    assert [claim.read() for claim in queue.claim(9)] == [b"one"]


def test_an_interrupt_while_it_becomes_answerable_leaves_nothing_stuck(queue: Queue) -> None:
    class Interrupted(set[str]):
        def update(self, *names: Iterable[str]) -> None:
            super().update(*names)
            raise KeyboardInterrupt

    lease = queue._opened.consumer.registered()
    lease.held = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        queue.claim(9)
    assert lease.held == set()


def test_what_was_handed_out_does_not_grow_when_a_put_ends(queue: Queue) -> None:
    for claim in queue.claim(9):
        claim.ack()
    queue.put(b"two", "s@example.org", ["r@example.org"])
    target = queue._opened.writer.current()
    assert target is not None
    noted = target._fresh  # as `note` in another thread holds it
    group = queue._opened.consumer.scanner.next_batch(1, bounces=False)
    assert group is not None
    noted.append(noted[0])
    assert len(group.items) == 1


def test_a_name_that_a_listing_gives_twice_is_claimed_once(
    host: SimHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(SPOOL, create=False, fs=host, heartbeat=False)
    Queue(SPOOL, create=False, fs=host, heartbeat=False).put(b"one", "s@example.org", ["r@example.org"])
    listdir = host.listdir
    monkeypatch.setattr(host, "listdir", lambda dir_fd: 2 * listdir(dir_fd))
    assert [claim.read() for claim in queue.claim(9)] == [b"one"]
