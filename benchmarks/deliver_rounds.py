"""Rounds: every contender in turn, each time into a fresh Maildir, every message looked for afterwards.

The machine's speed drifts while a benchmark runs. So contenders alternate within a round, the
order turns round with every round, and two are compared by the median of their ratios, taken
round by round.
"""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from maildir_safe._fs.libc import syncfs

SIZE = 4096
"""Bytes of a message."""

_MOST = 4096  # messages in a round

Deliver = Callable[[Sequence[bytes]], None]
"""Delivers messages, and returns when all have been acknowledged."""


@dataclass(frozen=True)
class Contender:
    """One way to deliver.

    Attributes:
        name: what the tables call it.
        durable: what is durable when a message is acknowledged: ``"yes"`` (file and directory),
            ``"file only"`` (a crash may lose the name), ``"no"``.
        start: given an empty Maildir, gets ready, which is not timed, and gives the function that is.
        group: messages, or callers, at a time; a round is a multiple of it.
        adds_headers: whether what is delivered has lines on top of what was handed in.
    """

    name: str
    durable: str
    start: Callable[[Path], AbstractContextManager[Deliver]]
    group: int = 1
    adds_headers: bool = False


@dataclass
class Series:
    """What became of one contender's rounds.

    Attributes:
        rates: messages a second, a round each; NaN for a round that failed.
        problems: what was wrong: an error, messages lost, doubled or changed.
    """

    durable: str
    rates: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> list[float]:
        """The rates of the rounds in which all was well."""
        return [rate for rate in self.rates if rate == rate]  # NaN is not itself

    @property
    def median(self) -> float:
        """Messages a second; NaN if no round was well."""
        return statistics.median(self.good) if self.good else float("nan")


def ratio(ours: Series, theirs: Series) -> float:
    """How many times as fast, as the median over rounds; NaN if no round has both."""
    pairs = [a / b for a, b in zip(ours.rates, theirs.rates, strict=True) if a / b == a / b]
    return statistics.median(pairs) if pairs else float("nan")


def message(number: int) -> bytes:
    """A message of `SIZE` bytes, different for each number."""
    head = f"From: bench@example.org\nTo: box@example.org\nSubject: {number}\n\n".encode()
    lines = b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmno\n" * (SIZE // 62)
    return (head + lines)[: SIZE - 1] + b"\n"


def run(
    contenders: Sequence[Contender], folder: Path, rounds: int, seconds: float, progress: Progress
) -> dict[str, Series]:
    """Run all contenders `rounds` times.

    Args:
        contenders: who takes part.
        folder: a directory on the mount that is measured.
        rounds: how often each runs, after one warm-up round that is not counted.
        seconds: about how long each run takes: the warm-up tells how many messages that is.
        progress: told what is going on.
    """
    messages = [message(number) for number in range(_MOST)]
    series = {contender.name: Series(contender.durable) for contender in contenders}
    counts = {}
    for contender in contenders:
        progress.step(contender.name)
        warm = _round(contender, folder, messages[: _multiple(contender, 64)], Series(""))
        counts[contender.name] = _multiple(contender, warm * seconds if warm == warm else 0)
    for turn in range(rounds):
        for contender in contenders if turn % 2 else reversed(contenders):
            progress.step(contender.name)
            mine = series[contender.name]
            mine.rates.append(_round(contender, folder, messages[: counts[contender.name]], mine))
    return series


def _multiple(contender: Contender, wanted: float) -> int:
    """A number of messages near what is wanted: whole groups, at least two, fewer than a round may have."""
    groups = min(int(wanted), _MOST) // contender.group
    return max(groups, 2) * contender.group


def _round(contender: Contender, folder: Path, messages: Sequence[bytes], series: Series) -> float:
    """Messages a second, or NaN with the problem noted."""
    with _fresh_box(folder) as box:
        try:
            took = _timed(contender, box, messages)
        except Exception as error:  # noqa: BLE001 - a contender that fails is a result, not the end of the run
            series.problems.append(f"{type(error).__name__}: {error}")
            return float("nan")
        problem = _compare(messages, box, contender.adds_headers)
    if problem:
        series.problems.append(problem)
        return float("nan")
    return len(messages) / took


def _timed(contender: Contender, box: Path, messages: Sequence[bytes]) -> float:
    """Seconds it takes to deliver the messages."""
    with contender.start(box) as deliver:
        began = time.perf_counter()
        deliver(messages)
        return time.perf_counter() - began


@contextmanager
def _fresh_box(folder: Path) -> Iterator[Path]:
    box = folder / "box"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    _wait_until_quiet(folder)  # what the round before left to be written is not this contender's debt
    try:
        yield box
    finally:
        gc.collect()  # a Maildir holds its directories open for as long as it exists
        shutil.rmtree(box)


def _wait_until_quiet(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    syncfs(fd)
    os.close(fd)


def _compare(messages: Sequence[bytes], box: Path, adds_headers: bool) -> str:
    """What is wrong with a box that should hold exactly these messages; ``""`` if nothing is."""
    found = Counter(file.read_bytes() for file in (box / "new").iterdir())
    if adds_headers:
        found = Counter(content[-SIZE:] for content in found.elements())
    sent = set(messages)
    lost = len(sent - found.keys())
    changed = sum(count for content, count in found.items() if content not in sent)
    doubled = sum(count - 1 for content, count in found.items() if content in sent)
    wrong = {"lost": lost, "changed": changed, "doubled": doubled}
    return ", ".join(f"{count} of {len(messages)} {what}" for what, count in wrong.items() if count)


class Progress:
    """One line on stderr, if that is a terminal.

    Args:
        steps: how many there will be.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._shown = sys.stderr.isatty()
        self.where = ""

    def step(self, what: str) -> None:
        """Show what begins now."""
        if self._shown:
            share = 100 * self._done // self._steps
            print(f"\r\033[K{share:3d} %  {self.where}: {what}", end="", file=sys.stderr, flush=True)
        self._done += 1

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
