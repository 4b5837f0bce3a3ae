"""The report: one HTML file that stands alone, with plots that adapt to a light or dark page."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from string import Template
from typing import Any

INK, _EDGE = "#010203", "#040506"  # stand for the page's own colours, which the reader chooses
PALETTE = ["#3b7dd8", "#e08a3c", "#4aa564", "#b565c9", "#c94f5d", "#6c8a9c", "#b8a13a", "#3fa7a0"]
_MAIN = (
    "rename",
    "rename, groups of 32",
    "rename, groups of 128",
    "link + unlink",
    "8 threads",
    "128 at once, asyncio",
    "rename, no directory fsync",
    "rename, no fsync at all",
)
_PAGE = Path(__file__).with_name("report.html")


def report(results: dict[str, Any]) -> str:
    """An HTML page from what `bench` measured (the JSON's form)."""
    mounts = results["mounts"]
    return Template(_PAGE.read_text()).substitute(
        mounts=html.escape(", ".join(_label(mount) for mount in mounts)),
        lead=html.escape(_lead(mounts)),
        table=_table(mounts),
        bars=_bars(mounts),
        steps=_steps(mounts),
        growth=_growth(mounts),
        environment=html.escape(", ".join(f"{key} {value}" for key, value in results["environment"].items())),
    )


def _label(mount: dict[str, Any]) -> str:
    return f"{mount['fstype'] or 'unknown'} ({mount['path']})"


def _case(mount: dict[str, Any], name: str) -> dict[str, Any]:
    return next((case for case in mount["cases"] if case["name"] == name), {})


def _lead(mounts: list[dict[str, Any]]) -> str:
    best = max(mounts, key=lambda mount: _case(mount, "rename").get("per_second") or 0.0)
    bad = sum(case["lost"] + case["doubled"] for mount in mounts for case in mount["cases"])
    verified = "none was lost or doubled" if not bad else f"{bad} were lost or doubled"
    text = f"Every message was looked for afterwards: {verified}. "
    rate = _case(best, "rename").get("per_second") or 0.0
    return text + f"One by one, {_label(best)} takes most: {rate:,.0f} durable messages a second."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"  # noqa: RUF001


def _table(mounts: list[dict[str, Any]]) -> str:
    names = ["mount", "durability", *_MAIN[:4], "lost", "doubled", "stalls", "calls/message"]
    rows = []
    for mount in mounts:
        sums = {key: sum(case[key] for case in mount["cases"]) for key in ("lost", "doubled", "stalls")}
        levels = sorted({level for case in mount["cases"] if case["safe"] for level in case["durability"]})
        cells = [html.escape(_label(mount)), ", ".join(levels)]
        cells += [_number(_case(mount, name).get("per_second")) for name in _MAIN[:4]]
        cells += [f'<span class="bad">{count}</span>' if count else "0" for count in sums.values()]
        calls = mount["network_calls_per_message"]
        rows.append("".join(f"<td>{cell}</td>" for cell in [*cells, "" if calls is None else f"{calls:.2f}"]))
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def figure_of(width: float, height: float) -> tuple[Any, Any]:
    """An empty plot (figure and axes) of this many inches, in the page's colours."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rc("text", color=INK)
    plt.rc("axes", labelcolor=INK, edgecolor=_EDGE)
    plt.rc("xtick", color=INK)
    plt.rc("ytick", color=INK)
    plt.rc("svg", fonttype="none", hashsalt="maildir-safe")
    figure, axes = plt.subplots(figsize=(width, height))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def svg_of(figure: Any) -> str:
    """A plot as SVG to stand in a page, whose text colour it takes."""
    import matplotlib.pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace(_EDGE, "currentColor")
    return text.replace("font: 11px", "font: 11px system-ui,")


def _bars(mounts: list[dict[str, Any]]) -> str:
    names = [name for name in _MAIN if any(_case(mount, name).get("per_second") for mount in mounts)]
    figure, axes = figure_of(9, 0.9 + 0.34 * len(names) * (0.4 + 0.6 * len(mounts)))
    height = 0.8 / len(mounts)
    for index, mount in enumerate(mounts):
        for row, name in enumerate(names):
            case = _case(mount, name)
            if not case.get("per_second"):
                continue
            low, high = min(case["rounds"]), max(case["rounds"])
            middle = case["per_second"]
            axes.barh(
                row + index * height,
                middle,
                height * 0.9,
                color=PALETTE[index % len(PALETTE)],
                alpha=1.0 if case["safe"] else 0.35,
                xerr=[[max(middle - low, 0)], [max(high - middle, 0)]],
                error_kw={"ecolor": INK, "elinewidth": 0.7},
                label=_label(mount) if row == 0 else None,
            )
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("messages a second (each division ten times more)")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    return svg_of(figure)


def _steps(mounts: list[dict[str, Any]]) -> str:
    figure, axes = figure_of(9, 1.2 + 0.45 * len(mounts))
    for row, mount in enumerate(mounts):
        steps = _case(mount, "rename").get("steps", {})
        whole, slow = (sum(figures[key] for figures in steps.values()) or 1e-9 for key in ("p50", "p99"))
        left = 0.0
        for index, (step, figures) in enumerate(steps.items()):
            share = figures["p50"] / whole
            label = step.replace("_", " ") if row == 0 else None
            axes.barh(row, share, 0.6, left=left, color=PALETTE[index], label=label)
            left += share
        axes.text(1.02, row, f"{whole * 1e3:.3g} ms, p99 {slow * 1e3:.3g} ms", va="center")
    axes.set_yticks(range(len(mounts)), [_label(mount) for mount in mounts])
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=6)
    return svg_of(figure)


def _growth(mounts: list[dict[str, Any]]) -> str:
    sizes = ["rename, 1 KiB", "rename", "rename, 64 KiB", "rename, 1 MiB"]
    counts = sorted({int(count) for mount in mounts for count in mount["filled"]})
    heads = [
        "mount",
        "1 KiB",
        "4 KiB",
        "64 KiB",
        "1 MiB",
        *(f"in a directory of {count:,}" for count in counts),
    ]
    rows = []
    for mount in mounts:
        cells = [
            html.escape(_label(mount)),
            *(_number(_case(mount, size).get("per_second")) for size in sizes),
        ]
        cells += [_number(mount["filled"].get(str(count))) for count in counts]
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
