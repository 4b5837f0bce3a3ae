"""How fast is the queue? put + claim + ack of 4 KiB, beside persist-queue's SQLite and a bare ceiling.

    python -m benchmarks.queue [DIRECTORY]

Makes its own ext4 image, and a tmpfs for the backlogs (root); or everything is done below DIRECTORY
and removed afterwards. Contenders alternate, and two are compared by the median over rounds of their
ratio. persist-queue takes part if it is installed. Exit status 1 if a figure is not reached.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.deliver_figures import Figure
from benchmarks.deliver_report import environment, figure_table, table
from benchmarks.kept import keep
from benchmarks.mounts import mounted
from benchmarks.queue_backlog import backlog_costs, idle_share
from benchmarks.queue_contenders import (
    CEILING,
    CEILING_IN_GROUPS,
    CONTENDERS,
    GROUP,
    OURS,
    OURS_IN_GROUPS,
    SQLITE,
    has_persist_queue,
)
from benchmarks.queue_processes import PROCESSES, many_processes, times

_IMAGE = 2048  # MiB
_MEMORY = 8192  # MiB; a million waiting items take some 4 KiB each

_FEW = 1000
_FUTURE = 100_000

_RATIOS = (
    (OURS_IN_GROUPS, SQLITE, 8.0),
    (OURS, SQLITE, 1.0),
    (OURS, CEILING, 0.85),
    (OURS_IN_GROUPS, CEILING_IN_GROUPS, 0.85),
)


def alternate(base: Path, rounds: int) -> dict[str, list[float]]:
    """Items a second of all contenders, slice by slice in turned order: speed drifts while this runs."""
    names = [name for name in CONTENDERS if name != SQLITE or has_persist_queue()]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        with contextlib.ExitStack() as stack:
            cycles = {}
            for name in names:
                (path / name).mkdir()
                cycles[name] = stack.enter_context(CONTENDERS[name][0](path / name))
                cycles[name](GROUP)
            for number in range(rounds):
                turned = names[number % len(names) :] + names[: number % len(names)]
                for name in turned:
                    count = CONTENDERS[name][1]
                    start = time.perf_counter()
                    cycles[name](count)
                    speeds[name].append(count / (time.perf_counter() - start))
    finally:
        shutil.rmtree(path)
    return speeds


def speed_figures(speeds: dict[str, list[float]]) -> list[Figure]:
    """The figures that compare two contenders."""
    figures = []
    for one, other, target in _RATIOS:
        if other in speeds:
            figures.append(Figure(f"{one} / {other}", target, times(speeds, one, other)))
        else:
            figures.append(Figure(f"{one} / {other}", target, None, "pip install persist-queue"))
    return figures


def process_figure(rates: dict[str, list[float]]) -> Figure:
    """What eight processes do, with what the bare calls in as many do beside it."""
    many = f", {PROCESSES}"
    detail = (
        f"{statistics.median(rates['ours' + many]):.0f} items/s; "
        f"bare calls: {times(rates, 'bare' + many, 'bare, 1'):.2f} times one process, "
        f"ours / bare at {PROCESSES}: {times(rates, 'ours' + many, 'bare' + many):.2f}"
    )
    value = times(rates, "ours" + many, "ours, 1")
    return Figure(f"{PROCESSES} processes on one spool / one", 2.0, value, detail)


def main() -> int:
    """The command."""
    options = _arguments()
    about = {**environment(), "rounds": options.rounds}
    with contextlib.ExitStack() as stack:
        base = options.directory or _written(stack.enter_context(mounted("ext4", size=_IMAGE)).folder())
        waiting = options.directory or stack.enter_context(mounted("tmpfs", size=_MEMORY)).folder()
        waiting = options.backlog_in or waiting
        speeds = alternate(base, options.rounds)
        rates = many_processes(base, max(3, options.rounds // 4), 2.0)
        backlog = backlog_costs(waiting, (_FEW, options.backlog))
        idle = idle_share(waiting, _FUTURE, 10.0)
    figures = [
        *speed_figures(speeds),
        process_figure(rates),
        Figure(f"cost of a cycle beside {options.backlog} waiting / {_FEW}", 1.3, backlog, at_most=True),
        Figure(f"percent of a core, idle beside {_FUTURE} future items", 1, 100 * idle, at_most=True),
    ]
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"\n{figure_table(figures)}\n\n{_rate_table(speeds)}")
    if options.json:
        found = {
            "environment": about,
            "figures": [{**vars(figure), "verdict": figure.verdict} for figure in figures],
            "speeds": speeds,
            "processes": rates,
        }
        keep(options.json, found)
    return 1 if any(figure.verdict == "FAIL" for figure in figures) else 0


def _written(folder: Path) -> Path:
    """Our own image, written over once: it is sparse, and a new block costs the disk below."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    filler.unlink()
    os.sync()
    return folder


def _rate_table(speeds: dict[str, list[float]]) -> str:
    rows = [
        (name, f"{statistics.median(values):.0f}", f"{min(values):.0f} - {max(values):.0f}")
        for name, values in speeds.items()
    ]
    return table(("put + claim + ack of 4 KiB, one process", "items/s", "least - most"), rows, "<>>")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__.split("\n")[0])
    parser.add_argument(
        "directory", type=Path, nargs="?", help="on the file system to measure (default: an ext4 image)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="how often each runs (default: 30)")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="the larger of the two backlogs")
    parser.add_argument("--backlog-in", type=Path, metavar="DIRECTORY", help="where backlogs are made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all that was measured")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
