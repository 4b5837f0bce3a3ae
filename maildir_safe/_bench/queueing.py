"""The queue cases: messages put, claimed and acknowledged."""

from __future__ import annotations

from pathlib import Path

from maildir_safe._delivery.receipt import Receipt
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.queue import Queue

_SENDER, _RECIPIENTS = "bench@example.org", ["box@example.org"]


class Cycle:
    """Passes messages through a spool; keeps the numbers of those that came out.

    Args:
        path: the spool, which is made.
        group: messages that are put, claimed and acknowledged together.
    """

    def __init__(self, path: Path, group: int) -> None:
        self._queue = Queue(path, shared=False, heartbeat=False)
        self._group = group
        self.numbers: list[int] = []

    def __call__(self, mails: list[bytes]) -> list[Receipt]:
        """Pass all messages through, in groups; a queue returns no receipts."""
        for start in range(0, len(mails), self._group):
            part = mails[start : start + self._group]
            if self._group == 1:
                self._queue.put(part[0], _SENDER, _RECIPIENTS)
            else:
                self._queue.put_many([(mail, _SENDER, _RECIPIENTS) for mail in part])
            claims = self._queue.claim(limit=len(part))
            self.numbers += [_number(claim) for claim in claims]
            self._queue.ack_many(claims)
        return []


def _number(claim: Claim) -> int:
    with claim.open() as file:
        return int(file.readline())


def one_by_one(path: Path, _staging: str | None = None) -> Cycle:
    """Return a spool for `Case.open` that handles each message by itself."""
    return Cycle(path, 1)


def in_groups(path: Path, _staging: str | None = None) -> Cycle:
    """Return a spool for `Case.open` in which 32 messages share their fsyncs."""
    return Cycle(path, 32)
