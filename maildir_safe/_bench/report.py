"""The report: one self-contained HTML file, light or dark as the reader prefers."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from maildir_safe._bench import plots
from maildir_safe._bench.plots import WRITERS, Mounts, case, label, speed

_MAIN = ("rename", "rename, groups of 32", "rename, groups of 128", "link + unlink")
_SAFE = {"full": "good", "file": "fair"}
_PAGE = Path(__file__).with_name("report.html")


def report(results: dict[str, Any]) -> str:
    """Return an HTML page of the measurements of `bench` (in the form of its JSON)."""
    kinds = [mount["fstype"] for mount in results["mounts"]]
    mounts = [
        {"name": mount["fstype"] if kinds.count(mount["fstype"]) == 1 else mount["path"]} | mount
        for mount in results["mounts"]
    ]
    grown = [mount for mount in mounts if mount["filled"] or speed(mount, "8 threads")]
    return Template(_PAGE.read_text()).substitute(
        mounts=html.escape(", ".join(label(mount) for mount in mounts)),
        lead=html.escape(_lead(mounts)),
        table=_summary(mounts),
        bars=plots.bars(mounts),
        steps=plots.steps(mounts),
        percentiles=_percentiles(mounts),
        growth=plots.growth(grown) if grown else "<p>Not measured: <code>--quick</code>.</p>",
        everything=_everything(mounts),
        places=html.escape("; ".join(f"{mount['path']} is {mount['fstype']}" for mount in mounts)),
        environment=html.escape(", ".join(f"{key} {value}" for key, value in results["environment"].items())),
    )


def _lead(mounts: Mounts) -> str:
    best = max(mounts, key=lambda mount: speed(mount, "rename") or 0.0)
    bad = sum(one["lost"] + one["doubled"] for mount in mounts for one in mount["cases"])
    verified = "none was lost or doubled" if not bad else f"{bad} were lost or doubled"
    text = f"Every message was looked for afterwards: {verified}. "
    rate = speed(best, "rename") or 0.0
    return text + f"One by one, {label(best)} takes most: {rate:,.0f} durable messages a second."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"  # noqa: RUF001


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _summary(mounts: Mounts) -> str:
    names = [
        "mount",
        "durability",
        *_MAIN,
        "lost",
        "doubled",
        "stalls",
        "listed/s",
        "read/s",
        "net calls",
    ]
    rows = []
    for mount in mounts:
        sums = (sum(one[key] for one in mount["cases"]) for key in ("lost", "doubled", "stalls"))
        levels = sorted({level for one in mount["cases"] if one["safe"] for level in one["durability"]})
        cells = [html.escape(label(mount))]
        cells.append(", ".join(f'<span class="{_SAFE.get(level, "bad")}">{level}</span>' for level in levels))
        cells += [_number(speed(mount, name)) for name in _MAIN]
        cells += [f'<span class="bad">{count}</span>' if count else "0" for count in sums]
        cells += [_number(mount["reading"].get(key)) for key in ("listed_per_second", "read_per_second")]
        calls = mount["network_calls_per_message"]
        rows.append([*cells, "" if calls is None else f"{calls:.2f}"])
    return _table(names, rows)


def _percentiles(mounts: Mounts) -> str:
    """Return the table of the steps of a single delivery, in milliseconds."""
    keys = ("p50", "p99", "p99.9", "max")
    rows = [
        [html.escape(label(mount)), step.replace("_", " "), *(f"{figures[key] * 1e3:.3f}" for key in keys)]
        for mount in mounts
        for step, figures in case(mount, "rename").get("steps", {}).items()
    ]
    return _table(["mount", "step (ms)", *keys], rows)


def _everything(mounts: Mounts) -> str:
    """Return the table of all cases of all mounts, with their spread."""
    names = list(dict.fromkeys(one["name"] for mount in mounts for one in mount["cases"]))
    counts = sorted({int(count) for mount in mounts for count in mount["filled"]})
    rows = [[_title(mounts, name), *(_spread(case(mount, name)) for mount in mounts)] for name in names]
    rows += [
        [f"in a directory of {count:,}", *(_spread(mount["filled"].get(str(count), {})) for mount in mounts)]
        for count in counts
    ]
    return _table(["messages a second", *(html.escape(label(mount)) for mount in mounts)], rows)


def _title(mounts: Mounts, name: str) -> str:
    safe = all(case(mount, name).get("safe", True) for mount in mounts)
    words = html.escape(f"{name}, 1 thread" if name == WRITERS[1] else name)
    return words if safe else f'{words} <span class="bad">unsafe</span>'


def _spread(found: dict[str, Any]) -> str:
    if found.get("error"):
        return f'<span class="soft" title="{html.escape(found["error"], quote=True)}">not here</span>'
    if not found.get("per_second"):
        return "–"  # noqa: RUF001
    spread = "one round" if found["spread"] is None else f"±{found['spread']:.0%}"
    return f'{_number(found["per_second"])} <span class="soft">{spread}</span>'
