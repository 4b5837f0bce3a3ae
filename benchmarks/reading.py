"""How fast is a large Maildir read, beside the standard library? ``python -m benchmarks.reading``.

    python -m benchmarks.reading [--names N] [--messages N] [--rounds N] [--json FILE]

Lists a Maildir of 100,000 names, and reads all messages of a smaller one, on tmpfs, where nothing is waited
for: what counts is processor time. Each way opens the Maildir anew each time; they take turns, and two are
compared by the median over rounds of their ratio. Exit status 1 if a figure is not reached.
"""

from __future__ import annotations

import argparse
import mailbox
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import maildir_safe.mailbox
from benchmarks.deliver_figures import Figure
from benchmarks.deliver_report import environment, figure_table, table
from benchmarks.deliver_rounds import message
from benchmarks.kept import keep
from maildir_safe import Maildir

Way = Callable[[Path], int]
"""Reads a Maildir, and returns the number of messages that it found."""


def _ours(box: Path) -> int:
    return sum(1 for _ in Maildir(box, create=False).messages())


def _keys(kind: Callable[..., mailbox.Maildir]) -> Way:
    return lambda box: sum(1 for _ in kind(box, create=False).iterkeys())


def _whole(kind: Callable[..., mailbox.Maildir]) -> Way:
    return lambda box: sum(1 for one in kind(box, create=False) if one["Subject"])


STDLIB, DROP_IN = mailbox.Maildir, maildir_safe.mailbox.Maildir
OURS, OUR_KEYS, THEIR_KEYS = "Maildir.messages()", "drop-in, keys", "mailbox.Maildir, keys"
OUR_WHOLE, THEIR_WHOLE = "drop-in, messages", "mailbox.Maildir, messages"
LISTS: dict[str, Way] = {OURS: _ours, OUR_KEYS: _keys(DROP_IN), THEIR_KEYS: _keys(STDLIB)}
READS: dict[str, Way] = {OUR_WHOLE: _whole(DROP_IN), THEIR_WHOLE: _whole(STDLIB)}
_RATIOS = ((OURS, THEIR_KEYS), (OUR_KEYS, THEIR_KEYS), (OUR_WHOLE, THEIR_WHOLE))


def fill(box: Path, count: int, content: Callable[[int], bytes]) -> None:
    """Make a Maildir of so many messages in cur/, without any fsync."""
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    for number in range(count):
        data = content(number)
        key = f"{1700000000 + number}.M{number % 10**6:06}P7Q{number}Rc0ffee00c0ffee00.bench,S={len(data)}"
        (box / "cur" / f"{key}:2,S").write_bytes(data)


def in_turns(ways: dict[str, Way], box: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each way in each round; the first round, which fills caches, is not counted.

    Raises:
        ValueError: a way has not found every message.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in ways if number % 2 else reversed(ways):
            start = time.process_time()
            found = ways[name](box)
            took = time.process_time() - start
            if found != count:
                raise ValueError(f"{name}: {found} of {count} messages")
            if number:
                seconds[name].append(took)
    return seconds


def figures(seconds: dict[str, list[float]]) -> list[Figure]:
    """The figures to reach: how many times as fast as the standard library."""
    return [
        Figure(
            f"{ours} / {theirs}",
            1.0,
            statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)),
        )
        for ours, theirs in _RATIOS
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _arguments(arguments)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        many, few = Path(place, "many"), Path(place, "few")
        fill(many, options.names, lambda _: b"Subject: x\n\n")
        fill(few, options.messages, message)
        seconds = in_turns(LISTS, many, options.names, options.rounds)
        seconds |= in_turns(READS, few, options.messages, options.rounds)
    reached = figures(seconds)
    about = {**environment(), "names": options.names, "messages": options.messages, "rounds": options.rounds}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows = [(name, f"{statistics.median(took) * 1000:.1f}") for name, took in seconds.items()]
    print(f"\n{figure_table(reached)}\n\n{table(('all of them', 'ms'), rows, '<>')}")
    if options.json:
        keep(options.json, {"environment": about, "seconds": seconds})
    return 1 if any(figure.verdict == "FAIL" for figure in reached) else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__.split("\n")[0])
    parser.add_argument("--names", type=int, default=100_000, help="that are listed (default: 100,000)")
    parser.add_argument("--messages", type=int, default=5_000, help="that are read (default: 5,000)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each runs (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
