"""The results in words and tables (Markdown, which a terminal shows as well), and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.deliver_contenders import STDLIB
from benchmarks.deliver_figures import Figure
from benchmarks.deliver_rounds import SIZE, Series, ratio

Results = Mapping[str, Mapping[str, Series]]


def environment() -> dict[str, Any]:
    """What the figures depend on, and who reads them must know."""
    cpu = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu": cpu[0] if cpu else platform.machine(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "message_bytes": SIZE,
    }


def as_json(results: Results, figures: Sequence[Figure], about: Mapping[str, Any]) -> dict[str, Any]:
    """All that was measured: the rate of each round too, so that another can judge anew."""
    return {
        "environment": dict(about),
        "figures": [{**vars(figure), "verdict": figure.verdict} for figure in figures],
        "mounts": {mount: {name: vars(one) for name, one in rows.items()} for mount, rows in results.items()},
    }


def text(results: Results, figures: Sequence[Figure], about: Mapping[str, Any]) -> str:
    """The report."""
    parts = [", ".join(f"{key} {value}" for key, value in about.items())]
    parts += ["### Figures to reach", figure_table(figures)]
    for mount, rows in results.items():
        parts += [f"### {mount}", _rates(rows)]
    problems = [
        f"- {mount}: {name}: {problem}"
        for mount, rows in results.items()
        for name, series in rows.items()
        for problem in series.problems
    ]
    parts += [
        "### Not delivered as asked",
        "\n".join(problems) or "Nothing: every message of every round was there once, whole.",
    ]
    return "\n\n".join(parts)


def figure_table(figures: Sequence[Figure]) -> str:
    """The figures to reach, as a table."""
    rows = [
        (
            figure.what,
            f"{'<=' if figure.at_most else '>='} {figure.target:g}",
            "-" if figure.value is None else f"{figure.value:.2f}",
            figure.verdict,
            figure.detail,
        )
        for figure in figures
    ]
    return table(("figure", "target", "value", "verdict", "detail"), rows, "<>><<")


def _rates(rows: Mapping[str, Series]) -> str:
    stdlib = rows[STDLIB]
    lines = []
    for name, series in rows.items():
        good = series.good
        spread = f"{min(good):.0f} - {max(good):.0f}" if good else "-"
        median = f"{series.median:.0f}" if good else "failed"
        lines.append((name, series.durable, median, spread, f"{ratio(series, stdlib):.2f}"))
    return table(("", "durable", "messages/s", "least - most", "x mailbox.Maildir"), lines, "<<>>>")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A table whose columns stand below each other; `align` has ``<`` or ``>`` for each."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = [
        "-" * (width - 1) + (":" if side == ">" else "-") for width, side in zip(widths, align, strict=True)
    ]
    return "\n".join(_row(row, widths, align) for row in (head, rule, *rows))


def _row(cells: Sequence[str], widths: Sequence[int], align: str) -> str:
    padded = (f"{cell:{side}{width}}" for cell, side, width in zip(cells, align, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
