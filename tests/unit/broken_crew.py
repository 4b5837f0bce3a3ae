"""Putters and workers that are wrong on purpose: what `torture --queue` must notice.

python -m broken_crew …, as `maildir_safe._check.torture_worker`, with what is wrong in $BROKEN
"""

from __future__ import annotations

import os
import sys
import time

from maildir_safe import Maildir, Queue
from maildir_safe._check import torture_worker
from maildir_safe._check.torture_worker import RECIPIENT, SENDER
from maildir_safe._queue.claim import Claim
from maildir_safe._queue.store.envelope import head

good_put = Queue.put


def repeated_put(queue: Queue, content: bytes, *envelope: object) -> str:
    """Put a second time, as if the first had failed."""
    good_put(queue, content, *envelope)  # type: ignore[arg-type]
    return good_put(queue, content, *envelope)  # type: ignore[arg-type]


def ack_without_delivery(claim: Claim, maildir: Maildir) -> None:  # noqa: ARG001
    claim.ack()


def unfenced_delivery(claim: Claim, maildir: Maildir) -> None:
    """A copy for the Maildir, whoever has the item by now."""
    maildir.deliver(head(SENDER, [RECIPIENT]) + claim.read())
    time.sleep(0.05)
    claim.ack()


BROKEN = {
    "repeated put": (Queue, "put", repeated_put),
    "ack without delivery": (Claim, "ack_into", ack_without_delivery),
    "unfenced delivery": (Claim, "ack_into", unfenced_delivery),
}

if __name__ == "__main__":
    owner, name, wrong = BROKEN[os.environ["BROKEN"]]
    setattr(owner, name, wrong)
    getattr(torture_worker, sys.argv[1])(*sys.argv[2:])
