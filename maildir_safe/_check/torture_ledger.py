"""The ledger and the report of torture, and the comparison of the ledger with the messages found."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


class TortureReport:
    """The result of torture.

    Attributes:
        acknowledged: messages acknowledged to a writer as delivered, or as in the queue.
        kills: processes killed.
        lost: acknowledged, but missing. doubled: found more than once.
        partial: found, but incomplete. unknown: found, but begun by no process.
        unreadable: found, but not readable, with the error; it is not known whether they are complete.
        errors: the errors that processes got, and how many times.
        durability: the durability levels of the acknowledgements.
        seconds: how long it took.
        kept: the folder that was left because messages in it could not be read; else None.
        filled: whether it ended early because the mount had little space left.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.kills = 0
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.partial: list[str] = []
        self.unknown: list[str] = []
        self.unreadable: list[str] = []
        self.errors: Counter[str] = Counter()
        self.durability: set[str] = set()
        self.seconds = 0.0
        self.filled = False
        self.kept: str | None = None

    @property
    def wrong(self) -> list[str]:
        """Every message for which the mount, or this package, broke a promise."""
        return self.lost + self.doubled + self.partial + self.unknown

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, everything could be read, and something was acknowledged."""
        return self.acknowledged > 0 and not self.wrong and not self.unreadable

    def bound(self) -> float:
        """The 95 % upper bound of the share of acknowledged messages that are lost, doubled or partial."""
        return upper_bound(len(self.lost) + len(self.doubled) + len(self.partial), self.acknowledged)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        plain = {**vars(self), "errors": dict(self.errors), "durability": sorted(self.durability)}
        return {**plain, "passed": self.passed, "upper_bound_95": self.bound()}


def upper_bound(bad: int, count: int) -> float:
    """The one-sided 95 % upper bound of a share, if `bad` of `count` were bad (Poisson).

    If none is bad, this is the rule of three: 3 / count.
    """
    if count == 0:
        return 1.0
    low, high = float(bad), bad + 10.0 + 5 * math.sqrt(bad + 1)
    for _ in range(60):
        mean = (low + high) / 2
        at_most = sum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(bad + 1))
        low, high = (mean, high) if at_most > 0.05 else (low, mean)
    return min(1.0, high / count)


class Ledger:
    """The messages that were begun in one place, in order, and which of them were acknowledged."""

    def __init__(self, begun: Iterable[str] = (), acknowledged: Iterable[str] = ()) -> None:
        self.begun = dict.fromkeys(begun)
        self.acknowledged = set(acknowledged)

    def enter(self, lines: list[list[str]], report: TortureReport) -> None:
        """Enter the lines of a process."""
        for word, *rest in lines:
            if word == "begin":
                self.begun[rest[0]] = None
            elif word == "ack":
                key, durability = rest
                report.acknowledged += key not in self.acknowledged
                report.durability.add(durability)
                self.acknowledged.add(key)
            elif word == "error":
                report.errors[" ".join(rest)] += 1

    @property
    def open(self) -> list[str]:
        """The messages that were begun but not acknowledged."""
        return [key for key in self.begun if key not in self.acknowledged]


def message(key: str) -> bytes:
    """A message that can be checked for completeness: its key, a body made from it, and a digest."""
    body = (hashlib.sha256(key.encode()).hexdigest() + "\n") * (1 + len(key) * 7 % 60)
    text = f"Subject: {key}\nX-Digest: {hashlib.sha256(body.encode()).hexdigest()}\n\n{body}"
    return text.encode("ascii")


def reckon(
    there: list[tuple[str, bytes]],
    ledger: Ledger,
    report: TortureReport,
    head: bytes = b"",
    unreadable: Sequence[str] = (),
) -> None:
    """Compare the messages found with the ledger.

    Args:
        there: the place and the content of each message.
        ledger: the messages begun and acknowledged.
        report: receives the findings.
        head: the bytes that precede each message.
        unreadable: the place and the error of each unreadable file. A file's name does not identify its
            message, so the number of lost messages is reduced by the number of unreadable files.
    """
    found: Counter[str] = Counter()
    for place, data in there:
        key = data[len(head) :].partition(b"\n")[0].removeprefix(b"Subject: ").decode("ascii", "replace")
        if key not in ledger.begun:
            (report.partial if len(data) < len(head) + 10 else report.unknown).append(place)
        elif data != head + message(key):
            report.partial.append(key)
        else:
            found[key] += 1
    missing = sorted(key for key in ledger.acknowledged if not found[key])
    report.lost += missing[len(unreadable) :]
    report.unreadable += unreadable
    report.doubled += sorted(key for key, count in found.items() if count > 1)
