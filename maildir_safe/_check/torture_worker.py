"""A putter or a worker that runs until it is killed; see `torture_queue`.

    python -m maildir_safe._check.torture_worker put FOLDER NUMBER
    python -m maildir_safe._check.torture_worker work FOLDER NUMBER LEASE shared|alone [STAGING]

Standard output is the pipe to the ledger.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import time
from typing import TYPE_CHECKING

from maildir_safe._check.torture_ledger import message
from maildir_safe._check.torture_process import say, say_error
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._queue.queue import Queue
from maildir_safe.errors import LeaseLost, TemporaryError

if TYPE_CHECKING:
    from maildir_safe._queue.claim import Claim

SPOOL, MAILDIR = "spool", "maildir"
SENDER, RECIPIENT = "torture@localhost", "maildir@localhost"
_BATCH = 32
_RELEASED = 0.1  # share of the claims that are released, so that items also go back
_IN_HAND = 0.3  # most seconds that claims are held first, as a courier holds them
_PAUSE = 0.2


def put(folder: str, number: str) -> None:
    """Put messages one by one. A failed put is not retried, since it has no delivery id."""
    queue = Queue(f"{folder}/{SPOOL}", create=False, shared=False)
    for count in itertools.count(1):
        key = f"p{number}-{count}"
        say(f"begin {key}")
        try:
            queue.put(message(key), SENDER, [RECIPIENT])
            say(f"ack {key} {queue.durability}")
        except TemporaryError as error:
            say_error(error)
            time.sleep(_PAUSE)


def work(folder: str, number: str, lease: str, how: str, staging: str = "") -> None:
    """Claim items, and deliver or release them, while the parent lives."""
    queue = Queue(f"{folder}/{SPOOL}", create=False, lease=int(lease), shared=how == "shared")
    maildir = Maildir(f"{folder}/{MAILDIR}", create=False, staging=staging or None)
    logging.getLogger("maildir_safe").addHandler(_Fenced())
    chance = random.Random(number)
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            claims = queue.claim(_BATCH, wait=1.0)
        except TemporaryError as error:
            say_error(error)
            time.sleep(_PAUSE)
            continue
        time.sleep(_IN_HAND * chance.random() if claims else 0.0)
        for claim in claims:
            end(claim, None if chance.random() < _RELEASED else maildir)


class _Fenced(logging.Handler):
    """Reports each lost lease to the ledger; other log records are dropped."""

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a record."""
        text = record.getMessage()
        if text.startswith("LeaseLost: worker "):
            say(f"fenced {text.split()[2]}")


def end(claim: Claim, maildir: Maildir | None) -> None:
    """Deliver an item, or release it. After repeated errors it returns to the queue by itself."""
    for _ in range(5):
        try:
            if maildir is None:
                claim.release()
            else:
                claim.ack_into(maildir)
            return
        except LeaseLost:
            say(f"lost {claim.id}")
            return
        except TemporaryError as error:
            say_error(error)
            time.sleep(_PAUSE)


if __name__ == "__main__":
    if sys.argv[1] == "put":
        put(*sys.argv[2:])
    else:
        work(*sys.argv[2:])
