"""Group commit: who shares which fsync, and who is told of its failure."""

from __future__ import annotations

import errno
import threading

import pytest

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff import group_commit
from maildir_safe._handoff.group_commit import Combiner, DirectorySync


class Gate(OsFileSystem):
    """A file system whose fsync waits until the test lets it go, and then fails if told to."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.errors: list[int] = []
        self.calls = 0

    def fsync(self, fd: int) -> None:  # type: ignore[override]  # noqa: ARG002
        self.calls += 1
        self.entered.release()
        assert self.let_go.acquire(timeout=120)
        if self.errors and (number := self.errors.pop(0)):
            raise OSError(number, "as the test wants")


def in_threads(count: int, call: object) -> tuple[list[threading.Thread], list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())  # type: ignore[operator]
        except OSError as error:
            results.append(error.errno)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def wait_for_sharers(sync: DirectorySync) -> None:
    while sync._next is None:  # the latecomers' round has been opened
        threading.Event().wait(0.001)


def test_latecomers_do_not_ride_on_an_fsync_that_has_begun() -> None:
    fs = Gate()
    sync = DirectorySync(fs, 0)
    first, _ = in_threads(1, sync.sync)
    assert fs.entered.acquire(timeout=120)
    late, results = in_threads(5, sync.sync)
    wait_for_sharers(sync)
    fs.let_go.release()
    first[0].join()
    assert results == []  # their fsync has not ended
    assert fs.entered.acquire(timeout=120)
    fs.let_go.release(10)
    for thread in late:
        thread.join()
    assert results == [True] * 5
    assert 2 <= fs.calls <= 6


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_an_error_fails_every_sharer(number: int) -> None:
    fs = Gate()
    fs.errors = [0] + [number] * 9
    sync = DirectorySync(fs, 0)
    first, _ = in_threads(1, sync.sync)
    assert fs.entered.acquire(timeout=120)
    late, results = in_threads(5, sync.sync)
    wait_for_sharers(sync)
    fs.let_go.release(20)
    for thread in first + late:
        thread.join()
    assert results == [number] * 5


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_mount_that_cannot_is_told_from_one_that_failed(number: int) -> None:
    fs = Gate()
    fs.errors = [number]
    fs.let_go.release()
    assert DirectorySync(fs, 0).sync() is False


def test_an_interrupted_leader_does_not_leave_the_others_waiting() -> None:
    class Interrupted(Gate):
        def fsync(self, fd: int) -> None:  # type: ignore[override]
            super().fsync(fd)
            if self.calls == 2:
                raise KeyboardInterrupt

    fs = Interrupted()
    sync = DirectorySync(fs, 0)
    first, _ = in_threads(1, sync.sync)
    assert fs.entered.acquire(timeout=120)
    results: list[object] = []

    def leader() -> None:
        with pytest.raises(KeyboardInterrupt):
            sync.sync()
        results.append("leader")

    thread = threading.Thread(target=leader)
    thread.start()
    wait_for_sharers(sync)
    followers, failed = in_threads(1, sync.sync)
    while not fs.let_go.release() and len(results) + len(failed) < 2:  # type: ignore[func-returns-value]
        threading.Event().wait(0.01)
    for waiting in [*first, thread, *followers]:
        waiting.join()
    assert results == ["leader"]
    assert failed in ([errno.EINTR], [True])  # it shared the interrupted one, or came too late for it


def test_jobs_that_wait_are_taken_together() -> None:
    batches: list[list[int]] = []
    started, go_on = threading.Event(), threading.Event()

    def work(jobs: list[int]) -> None:
        batches.append(jobs)
        started.set()
        assert go_on.wait(120)

    combiner = Combiner(limit=4)
    first, _ = in_threads(1, lambda: combiner.run(0, work))
    assert started.wait(120)
    others = [threading.Thread(target=combiner.run, args=(n, work)) for n in range(1, 10)]
    for thread in others:
        thread.start()
    while len(combiner._waiting) < 9:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in first + others:
        thread.join()
    assert [len(batch) for batch in batches] == [1, 4, 4, 1]
    assert sorted(job for batch in batches for job in batch) == list(range(10))


def test_a_batch_that_dies_hands_the_lead_on() -> None:
    seen: list[list[str]] = []

    def work(jobs: list[str]) -> None:
        seen.append(jobs)
        if "bad" in jobs:
            raise MemoryError

    combiner = Combiner(limit=1)
    with pytest.raises(MemoryError):
        combiner.run("bad", work)
    combiner.run("good", work)
    assert seen == [["bad"], ["good"]]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_leader_that_is_interrupted_while_it_gathers_is_out_of_it() -> None:
    seen: list[list[str]] = []
    combiner = Combiner(limit=4)
    combiner._gather = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        combiner.run("mine", seen.append)
    del combiner._gather  # type: ignore[method-assign]
    combiner.run("next", seen.append)
    assert seen == [["next"]]


def test_one_who_is_interrupted_while_it_waits_never_has_to_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    started, go_on = threading.Event(), threading.Event()

    def work(jobs: list[str]) -> None:
        seen.append(jobs)
        started.set()
        assert go_on.wait(120)

    class Interrupted(group_commit._Waiter):
        """One whose thread gets Ctrl-C while it waits at its gate."""

        def __init__(self, job: object) -> None:
            super().__init__(job)
            self.gate = type("Gate", (), {"acquire": interrupt})()

    combiner = Combiner(limit=1)
    first = threading.Thread(target=combiner.run, args=("first", work), daemon=True)
    first.start()
    assert started.wait(120)
    with monkeypatch.context() as patch:
        patch.setattr(group_commit, "_Waiter", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            combiner.run("interrupted", work)
    last = threading.Thread(target=combiner.run, args=("last", work), daemon=True)
    last.start()
    go_on.set()
    first.join(20)
    last.join(20)
    assert seen == [["first"], ["last"]]


def test_an_fsync_that_is_interrupted_leaves_the_directory_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = Gate()
    fs.let_go.release()
    sync = DirectorySync(fs, 0)
    monkeypatch.setattr(sync, "_sync", lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt):
        sync.sync()
    monkeypatch.undo()
    assert sync.sync()


def test_an_fsync_that_is_interrupted_before_it_begins_leaves_nobody_waiting() -> None:
    class Busy:
        """A lock that is held, whose waiter gets Ctrl-C."""

        __enter__ = interrupt

        @staticmethod
        def locked() -> bool:
            return True

        def __exit__(self, *_: object) -> None:
            raise AssertionError("never entered")

    fs = Gate()
    fs.let_go.release()
    sync = DirectorySync(fs, 0)
    running, sync._running = sync._running, Busy()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        sync.sync()
    sync._running = running
    assert sync.sync() is True
