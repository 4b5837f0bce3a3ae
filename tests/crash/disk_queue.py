"""The queue on the recorded disk: what it does there, and what may be left of it after a crash.

Marks are numbers, as for the Maildir: n when message n was accepted, ASKED + n before its end is
asked for, DONE + n when that was reported.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from disk_workloads import Acknowledge, message, settle

from maildir_safe import Maildir
from maildir_safe._handoff.rename import Handoff
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.store.spool import Spool
from maildir_safe._queue.worker import Worker

ASKED, DONE = 1_000_000, 2_000_000
_INTO = ("queue_ack_into", "queue_second_name", "queue_second_name_unseen")
_LONGEST = 120.0  # seconds: two leases and more, also on a busy machine
_NOT_ITEMS = {"tmp", "alive", "fenced", "notes"}


def queue_ack(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Put; later, when all is on the disk, claim and ack."""
    _run(path, count, acknowledge, lambda claim: claim.ack())


def queue_ack_into(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Put; later, when all is on the disk, claim and move into a Maildir of the same file system."""
    maildir = Maildir(path + ".maildir")
    _run(path, count, acknowledge, lambda claim: claim.ack_into(maildir))


def queue_second_name(path: str, count: int, acknowledge: Acknowledge) -> None:
    """As `queue_ack_into`, but each item, once claimed, is a second name of its message in the Maildir."""
    maildir = Maildir(path + ".maildir")

    def end(claim: Claim) -> None:
        claim.ack_into(maildir)

    _run(path, count, acknowledge, end, lambda claim: _linked(path, claim))


def queue_second_name_unseen(path: str, count: int, acknowledge: Acknowledge) -> None:
    """The control: nobody looks at the number of links, and the reply of the rename is believed."""
    Spool.deliver.__globals__["has_second_name"] = lambda *_: False
    Handoff.claim.__globals__["remove_second_name"] = lambda *_: True
    queue_second_name(path, count, acknowledge)


def _linked(path: str, claim: Claim) -> None:
    """Give a claimed item the name that it gets in the Maildir, as GlusterFS's healing does."""
    (claimed,) = Path(path, "claimed").glob(f"*/{claim.item.name}")
    os.link(claimed, Path(path + ".maildir", "new", claim.item.maildir_name))
    settle(path)


def queue_release(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Put; later, when all is on the disk, claim, try in vain, and return for another try."""
    _run(path, count, acknowledge, lambda claim: claim.retry(3600))


def _run(
    path: str,
    count: int,
    acknowledge: Acknowledge,
    end: Callable[[Claim], None],
    before: Callable[[Claim], None] = lambda _: None,
) -> None:
    queue = Queue(path, heartbeat=False)
    for number in range(count):
        queue.put(message(number), "a@example.org", ["b@example.org"])
        acknowledge(range(number, number + 1))
    settle(path)
    for _ in range(count):
        (claim,) = queue.claim()
        number = _number_in(claim.read(), count)
        before(claim)
        acknowledge(range(ASKED + number, ASKED + number + 1))
        end(claim)
        acknowledge(range(DONE + number, DONE + number + 1))


def _number_in(data: bytes, count: int) -> int:
    return next(number for number in range(count) if data.endswith(message(number)))


def complaints(root: Path, acknowledged: frozenset[int], count: int, workload: str) -> list[str]:
    """What is wrong with a spool and its Maildir after a crash; nothing is the right answer.

    Two names of one file are one message, until its end was reported.
    """
    in_spool, in_maildir = _found(root / "box", count), _found(root / "box.maildir", count)
    wrong = []
    for number in range(count):
        places = len(in_spool[number] | in_maildir[number])
        asked, done = ASKED + number in acknowledged, DONE + number in acknowledged
        may_be_gone = number not in acknowledged or (workload == "queue_ack" and asked)
        if places == 0 and not may_be_gone:
            wrong.append(f"{number} was accepted and is lost")
        if places > 1:
            wrong.append(f"{number} is in {places} places")
        if done and workload == "queue_ack" and places:
            wrong.append(f"{number} was acknowledged for good and is back")
        if done and workload in _INTO and not in_maildir[number]:
            wrong.append(f"{number} was delivered and is not in the Maildir")
        if done and workload in _INTO and in_spool[number]:
            wrong.append(f"{number} was delivered and is still in the queue")
    return wrong


def second_names(root: Path) -> int:
    """How many messages have a name in the queue and one in the Maildir: the state that is the subject."""
    files = [file.stat() for file in (root / "box.maildir").rglob("*") if file.is_file()]
    return sum(file.st_nlink > 1 for file in files)


def drained(root: Path, acknowledged: frozenset[int], count: int) -> list[str]:
    """What is wrong once a worker that starts after the crash has delivered all there is.

    Where the crash took the words of a dead worker's heartbeat, its lease must be over first.
    """
    with Queue(root / "box", heartbeat=False) as queue:  # makes what the crash has left unmade
        Maildir(root / "box.maildir")
        worker = Worker(queue, MaildirCourier(lambda _: [str(root / "box.maildir")]))
        ends = time.monotonic() + _LONGEST
        worker.run_once()
        while _found(root / "box", count) and time.monotonic() < ends:
            time.sleep(0.5)
            worker.run_once()
    left, there = _found(root / "box", count), _names(root / "box.maildir", count)
    wrong = [f"{number} stays in the queue" for number in left]
    wrong += [f"{number} has {there[number]} names" for number in range(count) if there[number] > 1]
    return wrong + [f"{number} is lost" for number in acknowledged if number < count and not there[number]]


def _found(directory: Path, count: int) -> dict[int, set[int]]:
    """The files that hold each message, by inode; those not counted that are still being written."""
    found: dict[int, set[int]] = defaultdict(set)
    for file in _files(directory):
        found[_number_in(file.read_bytes(), count)].add(file.stat().st_ino)
    return found


def _names(directory: Path, count: int) -> Counter[int]:
    return Counter(_number_in(file.read_bytes(), count) for file in _files(directory))


def _files(directory: Path) -> list[Path]:
    found = directory.rglob("*") if directory.is_dir() else ()
    return [
        file for file in found
        if file.is_file() and not _NOT_ITEMS & set(file.relative_to(directory).parts)
    ]  # fmt: skip
