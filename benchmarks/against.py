"""Two contenders that take turns, and one figure: how many times as fast is the first?"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.deliver_figures import Figure
from benchmarks.deliver_report import environment, figure_table
from benchmarks.kept import keep


def against(
    what: str, target: float, contenders: Mapping[str, Callable[[], float]], options: argparse.Namespace
) -> int:
    """Run two contenders, print the figure, keep the rates, and return the exit status.

    Args:
        what: the figure, in words.
        target: it has to be at least this.
        contenders: each returns the messages a second of one round; the first is ours.
        options: of the command: `messages`, `rounds` and `json`.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            rates[name].append(run())
    figure = Figure(what, target, _ratio(*rates.values()), _medians(rates))
    about = {**environment(), "messages": options.messages, "rounds": options.rounds}
    print(", ".join(f"{key} {one}" for key, one in about.items()))
    print(f"\n{figure_table([figure])}")
    if options.json:
        keep(options.json, {"environment": about, "rates": rates})
    return 1 if figure.verdict == "FAIL" else 0


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _medians(rates: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {statistics.median(found):.0f}/s" for name, found in rates.items())
