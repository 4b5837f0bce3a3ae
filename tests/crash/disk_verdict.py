"""Read a Maildir after a crash: what is missing, twice there, or not what was delivered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from disk_workloads import message


@dataclass
class Verdict:
    """What is wrong with one Maildir after one crash; false if nothing is.

    Attributes:
        lost: numbers of acknowledged messages that are not there, byte for byte.
        doubled: numbers of messages that are there more than once.
        incomplete: names of visible files that are no message of the workload.
    """

    lost: set[int] = field(default_factory=set)
    doubled: set[int] = field(default_factory=set)
    incomplete: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.incomplete)


@cache
def _numbers(count: int) -> dict[bytes, int]:
    return {message(number): number for number in range(count)}


def judge(maildir: Path, acknowledged: frozenset[int], count: int) -> Verdict:
    """Compare what is visible with the messages 0 to `count`, of which some were acknowledged."""
    number_of = _numbers(count)
    there: Counter[int] = Counter()
    verdict = Verdict()
    for part in ("new", "cur"):
        directory = maildir / part
        for file in directory.iterdir() if directory.is_dir() else ():
            number = number_of.get(file.read_bytes())
            if number is None:
                verdict.incomplete.append(f"{part}/{file.name}")
            else:
                there[number] += 1
    verdict.lost = set(acknowledged - there.keys())
    verdict.doubled = {number for number, copies in there.items() if copies > 1}
    return verdict
