"""Processes that use one spool, each as another host would: putters, workers, and their ledgers.

    python queue_hosts.py put SPOOL LEDGER FIRST COUNT
    python queue_hosts.py work SPOOL MAILDIR LEASE [MARKER]

A putter writes each id that was accepted into its ledger, a line each, after `put` has returned. A
worker delivers until it is killed, and prints a line for each item; with MARKER it makes that file at its
first claim and then waits for it to be removed, so that it can be stopped between claim and delivery.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from maildir_safe import LeaseLost, Maildir, Queue
from maildir_safe.errors import TemporaryError

DELIVERED = "delivered "


def body_of(number: int) -> bytes:
    return f"Subject: {number}\n\n{'x' * (number % 3000)} {number}\n".encode()


def put(spool: str, ledger: str, first: int, count: int) -> None:
    queue = Queue(spool, create=False)
    with open(ledger, "a", buffering=1) as out:
        for number in range(first, first + count):
            while True:
                try:
                    ident = queue.put(body_of(number), "s@example.org", ["r@example.org"])
                    break
                except TemporaryError as error:
                    print(f"{number}: {error}", file=sys.stderr)
                    time.sleep(0.2)
            out.write(f"{number} {ident}\n")


def work(spool: str, maildir_path: str, lease: int, marker: str = "") -> None:
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    queue, maildir = Queue(spool, create=False, lease=lease), Maildir(maildir_path, create=False)
    while True:
        try:
            claims = queue.claim(8, wait=1.0)
        except TemporaryError as error:
            print(error, flush=True)
            time.sleep(0.2)
            continue
        for claim in claims:
            if marker and not Path(marker).exists():
                Path(marker).write_text(claim.id)
                while Path(marker).exists():
                    time.sleep(0.01)
                marker = ""
            for _ in range(100):
                try:
                    claim.ack_into(maildir)
                    print(f"{DELIVERED}{claim.id}", flush=True)
                    break
                except LeaseLost:
                    break  # it is logged
                except TemporaryError as error:
                    print(error, flush=True)
                    time.sleep(0.2)


if __name__ == "__main__":
    if sys.argv[1] == "put":
        put(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:6])
