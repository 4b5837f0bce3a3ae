"""What `benchmarks.smtp` prints, and where it is published."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.deliver_figures import Figure
from benchmarks.deliver_rounds import Series

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
BEGIN = "<!-- smtp: written by `python -m benchmarks.smtp --save` -->\n"
END = "<!-- end of smtp -->\n"

Results = dict[tuple[str, int], Series]
"""By the server's name, and the number of connections."""


def text(
    results: Results, figures: Sequence[Figure], about: dict[str, object], absent: dict[str, str]
) -> str:
    """Tables in Markdown.

    Args:
        results: what was measured.
        figures: what was to be reached.
        about: the machine and the run.
        absent: the servers that did not come up, and why.
    """
    names, counts = list(dict.fromkeys(name for name, _ in results)), sorted({n for _, n in results})
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    lines += ["Messages a second, medians:", ""]
    lines += ["| server | durable at 250 | " + " | ".join(f"{n} connections" for n in counts) + " |"]
    lines += ["|---|---|" + "---:|" * len(counts)]
    for name in names:
        rates = " | ".join(_rate(results[name, n].median) for n in counts)
        lines.append(f"| {name} | {results[name, counts[0]].durable} | {rates} |")
    lines += [f"| {name} | did not come up: {why} |" + " - |" * len(counts) for name, why in absent.items()]
    lines += ["", "| figure | target | here | |", "|---|---|---|---|"]
    for figure in figures:
        sign = "at most" if figure.at_most else "at least"
        value = "-" if figure.value is None else f"{figure.value:.2f}"
        lines.append(
            f"| {figure.what} | {sign} {figure.target} | {value} | {figure.verdict}: {figure.detail} |"
        )
    problems = {
        f"- {name}, {n} connections: {p}" for (name, n), series in results.items() for p in series.problems
    }
    found = sorted(problems) or [
        "Every message of every round that was answered with 250 was there once, whole."
    ]
    return "\n".join([*lines, "", *found]) + "\n"


def _rate(rate: float) -> str:
    return "refused" if math.isnan(rate) else f"{rate:,.0f}"


def save(report: str, everything: dict[str, object]) -> None:
    """Write what was measured where it is published."""
    (HERE / "results/smtp.json").write_text(json.dumps(everything, indent=1) + "\n")
    published = README.read_text()
    before, after = published[: published.index(BEGIN)], published[published.index(END) :]
    README.write_text(before + BEGIN + report + after)


def as_json(results: Results, figures: Sequence[Figure], about: dict[str, object]) -> dict[str, object]:
    """Everything that was measured."""
    return {
        "about": about,
        "rates": {f"{name}, {n}": series.rates for (name, n), series in results.items()},
        "figures": [
            {"what": f.what, "target": f.target, "value": f.value, "verdict": f.verdict} for f in figures
        ],
    }
