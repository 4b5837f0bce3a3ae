"""Torture: kill writers at random moments, keep a ledger of what they acknowledged, then compare.

A message that was begun but not acknowledged goes to the next writer with the same delivery id, as an MTA
would retry it. In the end every acknowledged message must exist exactly once, byte for byte.
(`torture_queue` does the same to a queue.)
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from maildir_safe._check.torture_folder import TortureDirectory, own_folder, read_patiently
from maildir_safe._check.torture_ledger import Ledger, TortureReport, reckon
from maildir_safe._check.torture_process import Victim, life

if TYPE_CHECKING:
    from collections.abc import Callable

PER_MAILDIR = 400  # a delivery with an id lists new/ and cur/; the limit keeps it fast
_WRITER = "maildir_safe._check.torture_writer"


class MaildirReport(TortureReport):
    """The result of torturing Maildirs.

    Attributes:
        retried: messages that a killed writer had begun, and that the next one retried with the same id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.retried = 0


def torture(
    path: str,
    seconds: float,
    writers: int,
    seed: int,
    progress: Callable[[float, str], None],
    staging: str | None = None,
) -> MaildirReport:
    """Torture a directory on the mount in question.

    Args:
        path: a directory, in which torture creates a folder of its own, and removes it.
        seconds: how long writers are killed; at least three lives of one, which are long on a slow machine.
        writers: the number of concurrent writers.
        seed: for the random moments.
        progress: called with the share done (0 to 1) and a line of text.
        staging: where messages are written first, as for `Maildir`.

    Raises:
        OSError: the directory cannot be used.
    """
    report = MaildirReport()
    begin = time.monotonic()
    with own_folder(path, report) as base:
        ledgers = _run(
            base, begin, begin + seconds, writers, random.Random(seed), report, progress, staging or ""
        )
        progress(1.0, "comparing")
        for box, ledger in ledgers.items():
            _compare(box, ledger, report)
    report.seconds = round(time.monotonic() - begin, 3)
    return report


def _run(
    base: str,
    begin: float,
    until: float,
    writers: int,
    chance: random.Random,
    report: MaildirReport,
    progress: Callable[[float, str], None],
    staging: str,
) -> dict[str, Ledger]:
    """Start and kill writers, and return the ledger of each Maildir."""
    lives = life(_WRITER, writers)
    pace, until = writers / lives, max(until, begin + 3 * lives)  # a slow machine needs longer
    boxes = [f"{base}/m{number}" for number in range(writers)]  # the Maildir of each writer
    ledgers = {box: Ledger() for box in boxes}
    serial = writers
    room = TortureDirectory(base)
    running = [Victim(_WRITER, box, number, staging) for number, box in enumerate(boxes)]
    try:
        while (now := time.monotonic()) < until and not report.filled:
            progress(
                (now - begin) / (until - begin), f"{report.acknowledged} delivered, {report.kills} kills"
            )
            time.sleep(min(chance.expovariate(pace), until - now))
            slot = chance.randrange(writers)
            ledger = ledgers[boxes[slot]]
            _bury(running[slot], ledger, report)
            leftover = ledger.open
            report.retried += len(leftover)
            if not leftover and len(ledger.begun) > PER_MAILDIR:
                boxes[slot] = f"{base}/m{serial}"
                ledgers[boxes[slot]] = Ledger()
            serial += 1
            running[slot] = Victim(_WRITER, boxes[slot], serial, staging, leftover=leftover)
            report.filled = not room
    finally:
        for box, writer in zip(boxes, running, strict=True):
            _bury(writer, ledgers[box], report)
    return ledgers


def _bury(writer: Victim, ledger: Ledger, report: MaildirReport) -> None:
    """Kill a writer, and enter its last lines into the ledger."""
    ledger.enter(writer.kill(), report)
    report.kills += 1


def _compare(box: str, ledger: Ledger, report: TortureReport) -> None:
    found = read_patiently(box, len(ledger.acknowledged))
    reckon(found.messages, ledger, report, unreadable=found.unreadable)
