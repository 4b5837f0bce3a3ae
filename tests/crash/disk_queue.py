"""The queue on the recorded disk: what it does there, and what may be left of it after a crash.

Marks are numbers, as for the Maildir: n when message n was accepted, ASKED + n before its end is
asked for, DONE + n when that was reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from disk_workloads import Acknowledge, message, settle

from maildir_safe import Maildir
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.queue import Queue

ASKED, DONE = 1_000_000, 2_000_000
_NOT_ITEMS = {"tmp", "alive", "fenced", "notes"}


def queue_ack(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Put; later, when all is on the disk, claim and ack."""
    _run(path, count, acknowledge, lambda claim: claim.ack())


def queue_ack_into(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Put; later, when all is on the disk, claim and move into a Maildir of the same file system."""
    maildir = Maildir(path + ".maildir")
    _run(path, count, acknowledge, lambda claim: claim.ack_into(maildir))


def queue_release(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Put; later, when all is on the disk, claim, try in vain, and return for another try."""
    _run(path, count, acknowledge, lambda claim: claim.retry(3600))


def _run(path: str, count: int, acknowledge: Acknowledge, end: Callable[[Claim], None]) -> None:
    queue = Queue(path, heartbeat=False)
    for number in range(count):
        queue.put(message(number), "a@example.org", ["b@example.org"])
        acknowledge(range(number, number + 1))
    settle(path)
    for _ in range(count):
        (claim,) = queue.claim()
        number = _number_in(claim.read(), count)
        acknowledge(range(ASKED + number, ASKED + number + 1))
        end(claim)
        acknowledge(range(DONE + number, DONE + number + 1))


def _number_in(data: bytes, count: int) -> int:
    return next(number for number in range(count) if data.endswith(message(number)))


def complaints(root: Path, acknowledged: frozenset[int], count: int, workload: str) -> list[str]:
    """What is wrong with a spool and its Maildir after a crash; nothing is the right answer."""
    in_spool, in_maildir = _found(root / "box", count), _found(root / "box.maildir", count)
    wrong = []
    for number in range(count):
        places = in_spool[number] + in_maildir[number]
        asked, done = ASKED + number in acknowledged, DONE + number in acknowledged
        may_be_gone = number not in acknowledged or (workload == "queue_ack" and asked)
        if places == 0 and not may_be_gone:
            wrong.append(f"{number} was accepted and is lost")
        if places > 1:
            wrong.append(f"{number} is in {places} places")
        if done and workload == "queue_ack" and places:
            wrong.append(f"{number} was acknowledged for good and is back")
        if done and workload == "queue_ack_into" and not in_maildir[number]:
            wrong.append(f"{number} was delivered and is not in the Maildir")
    return wrong


def _found(directory: Path, count: int) -> Counter[int]:
    """How many files hold each message, those not counted that are still being written."""
    files = directory.rglob("*") if directory.is_dir() else ()
    found: Counter[int] = Counter()
    for file in files:
        if file.is_file() and not _NOT_ITEMS & set(file.relative_to(directory).parts):
            found[_number_in(file.read_bytes(), count)] += 1
    return found
