"""What a failover run counts: the ledger of the client, and the Maildirs as the file servers have them."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.failover_client import DOMAIN, has_envid

_LOOK = 0.2  # seconds between two looks at the file servers' directories


class Observer:
    """Notes when a message is first seen in a Maildir, on the disk of either file server.

    It asks no mount, so it sees what happens while a mount hangs.

    Args:
        bricks: the directories of the file servers.

    Attributes:
        seen: when each message was first seen, by its file name; those of earlier runs are left out.
    """

    def __init__(self, bricks: list[Path]) -> None:
        self._bricks = bricks
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: dict[str, float] = {}
        self._before: set[str] = set()

    def __enter__(self) -> Observer:
        self._before = {name for names in self._names() for name in names}
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(_LOOK):
            self._look()
        self._look()

    def _look(self) -> None:
        for names in self._names():
            now = time.time()
            for name in names - self._before:
                self.seen.setdefault(name, now)

    def _names(self) -> Iterator[set[str]]:
        for brick in self._bricks:
            for new in brick.glob(f"{DOMAIN}/*/new"):
                yield set(os.listdir(new))


@dataclass
class Count:
    """What came of one run.

    Attributes:
        messages: how many were answered 250.
        lost: numbers of those that are in no Maildir.
        doubled: how many are there more than once, by the reason that the client's ledger shows.
        unexplained: numbers that are there more than once, and the ledger shows no reason.
        silence: the longest time without a 250, of all connections together, in seconds.
        slowest: the longest time from a 250 to the Maildir, in seconds.
        trouble: how often the client was refused, cut off, and so on.
        evidence: what ledger, file servers and logs show of the unexplained ones, in lines.
    """

    messages: int
    lost: list[str]
    doubled: Counter[str]
    unexplained: list[str]
    silence: float
    slowest: float
    trouble: Counter[str]
    evidence: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """What must not be, in words."""
        found = [f"{number} is lost" for number in self.lost]
        found += [f"{number} is doubled, and nothing explains it" for number in self.unexplained]
        return found + self.evidence


def count(ledger: Path, mail: Path, brick: Path, seen: dict[str, float]) -> Count:
    """Compare the ledger with the Maildirs.

    Args:
        ledger: of `benchmarks.failover_client`.
        mail: the mount: what is listed there counts.
        brick: the file server that no failure touches: which message a file is, is read there, since a
            mount that heals is slow.
        seen: file name of a message of this run -> when it was first seen in a Maildir.
    """
    entries = [line.split() for line in ledger.read_text().splitlines()]
    accepted = {number: float(when) for when, number, event in entries if event == "250"}
    trouble: Counter[str] = Counter(event for _, _, event in entries if event != "250")
    unsure: dict[str, set[str]] = {}
    for _, number, event in entries:
        if event in ("unsure", "unanswered"):
            unsure.setdefault(number, set()).add(event)
    copies: dict[str, list[str]] = {}
    for path in mail.glob(f"{DOMAIN}/*/new/*"):
        if path.name in seen:
            copies.setdefault(_number(brick / path.relative_to(mail)), []).append(path.name)
    doubled: Counter[str] = Counter()
    unexplained = []
    for number, names in copies.items():
        why = _why(number, unsure)
        if len(names) > 1 and why:
            doubled[why] += len(names) - 1
        elif len(names) > 1 and number in accepted:
            unexplained.append(number)
    times = sorted(accepted.values())
    arrived = {number: min(seen.get(name, 0.0) for name in names) for number, names in copies.items()}
    return Count(
        messages=len(accepted),
        lost=sorted(accepted.keys() - copies.keys()),
        doubled=doubled,
        unexplained=unexplained,
        silence=max((b - a for a, b in pairwise(times)), default=0.0),
        slowest=max((arrived[n] - when for n, when in accepted.items() if n in arrived), default=0.0),
        trouble=trouble,
    )


def _why(number: str, unsure: dict[str, set[str]]) -> str:
    """Why a message may be there twice; ``""``: there is no reason, as for every message with an ENVID."""
    if has_envid(number) or number not in unsure:
        return ""
    return "reply lost" if "unanswered" in unsure[number] else "answered 4xx after the data"


def _number(path: Path) -> str:
    for line in path.read_text().splitlines():
        if line.startswith("Subject: "):
            return line.removeprefix("Subject: ")
    return f"no subject: {path.name}"
