"""The report's plots, as SVG in the colours of the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

Mounts = Sequence[dict[str, Any]]

INK, _EDGE = "#010203", "#040506"  # stand for the page's own colours, which the reader chooses
PALETTE = ["#3b7dd8", "#e08a3c", "#4aa564", "#b565c9", "#c94f5d", "#6c8a9c", "#b8a13a", "#3fa7a0"]
WAYS = (
    "rename",
    "rename, groups of 32",
    "rename, groups of 128",
    "link + unlink",
    "8 threads",
    "128 at once, asyncio",
    "queue",
    "queue, groups of 32",
    "rename, no directory fsync",
    "rename, no fsync at all",
)
SIZES = {1 << 10: "rename, 1 KiB", 4 << 10: "rename", 64 << 10: "rename, 64 KiB", 1 << 20: "rename, 1 MiB"}
WRITERS = {1: "rename", 8: "8 threads", 32: "32 threads"}
_TEXT = 11  # points; a page of 64 rem shows them a little smaller


def label(mount: dict[str, Any]) -> str:
    """Return the name of a mount; `report` ensures that it has one."""
    return str(mount["name"])


def case(mount: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the measurements of one way to deliver; empty if there are none."""
    return next((one for one in mount["cases"] if one["name"] == name), {})


def speed(mount: dict[str, Any], name: str) -> float | None:
    """Return messages per second, or None."""
    value: float | None = case(mount, name).get("per_second")
    return value


def figure_of(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """An empty figure of this many inches and its axes (several: an array), in the page's colours."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rc("text", color=INK)
    plt.rc("font", size=_TEXT)
    plt.rc("axes", labelcolor=INK, edgecolor=_EDGE, titlecolor=INK, titlesize=_TEXT, titlelocation="left")
    plt.rc("xtick", color=INK)
    plt.rc("ytick", color=INK)
    plt.rc("svg", fonttype="none", hashsalt="maildir-safe")
    figure, axes = plt.subplots(ncols=columns, figsize=(width, height), layout="constrained")
    for one in figure.axes:
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return figure, axes


def svg_of(figure: Any) -> str:
    """Return a plot as SVG for a page; it uses the page's text colour."""
    import matplotlib.pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace(_EDGE, "currentColor")
    return re.sub(r"(font: \d+(?:\.\d+)?px )[^;\"]*", r"\1system-ui, sans-serif", text)


def colour(number: int) -> str:
    """Return the colour of a mount or step."""
    return PALETTE[number % len(PALETTE)]


def _legend(figure: Any, axes: Any) -> None:
    """Put the legend above the plot, at most as wide as the plot."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(90 / (6 + max(map(len, labels), default=1)))))
    figure.legend(handles, labels, frameon=False, loc="outside upper left", ncols=columns)


def bars(mounts: Mounts) -> str:
    """Plot one group of bars per way to deliver, with one bar per mount; unsafe ways are pale."""
    names = [name for name in WAYS if any(speed(mount, name) for mount in mounts)]
    figure, axes = figure_of(9, 1.0 + len(names) * (0.2 + 0.17 * len(mounts)))
    height = 0.84 / len(mounts)
    for index, mount in enumerate(mounts):
        for row, name in enumerate(names):
            found = case(mount, name)
            middle = found.get("per_second")
            if middle:
                ends = [[max(middle - min(found["rounds"]), 0)], [max(max(found["rounds"]) - middle, 0)]]
                axes.barh(
                    row + index * height, middle, height * 0.9, color=colour(index),
                    alpha=1.0 if found["safe"] else 0.35, xerr=ends,
                    error_kw={"ecolor": INK, "elinewidth": 0.7},
                )  # fmt: skip
                axes.annotate(
                    f"{middle:,.0f}", (max(found["rounds"]), row + index * height), (4, 0),
                    textcoords="offset points", va="center", fontsize=9,
                )  # fmt: skip
        axes.barh(0, 0, color=colour(index), label=label(mount))
    axes.set_yticks([row + 0.42 - height / 2 for row in range(len(names))], names)
    axes.set_ylim(len(names), -0.4)
    axes.set_xscale("log")
    slowest = min(one["per_second"] for mount in mounts for one in mount["cases"] if one["per_second"])
    axes.set_xlim(left=10 ** math.floor(math.log10(slowest)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("messages a second (each division ten times more)")
    _legend(figure, axes)
    return svg_of(figure)


def steps(mounts: Mounts) -> str:
    """Plot the time of one durable delivery by step: each step's share of the median."""
    figure, axes = figure_of(9, 1.0 + 0.42 * len(mounts))
    for row, mount in enumerate(mounts):
        found = case(mount, "rename").get("steps", {})
        whole = sum(figures["p50"] for figures in found.values()) or 1e-9
        left = 0.0
        for index, (step, figures) in enumerate(found.items()):
            share = figures["p50"] / whole
            name = step.replace("_", " ") if row == 0 else None
            axes.barh(row, share, 0.6, left=left, color=colour(index), label=name)
            left += share
        axes.text(1.02, row, f"{whole * 1e3:.3g} ms", va="center")
    axes.set_yticks(range(len(mounts)), [label(mount) for mount in mounts])
    axes.set_xlim(0, 1.12)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    _legend(figure, axes)
    return svg_of(figure)


def growth(mounts: Mounts) -> str:
    """Plot messages per second by size, by writers and by messages in the directory, side by side."""
    figure, (by_size, by_writers, by_directory) = figure_of(9, 3.4, 3)
    for index, mount in enumerate(mounts):
        filled = mount["filled"].items()
        for axes, points in (
            (by_size, [(size, speed(mount, name)) for size, name in SIZES.items()]),
            (by_writers, [(count, speed(mount, name)) for count, name in WRITERS.items()]),
            (by_directory, [(int(count), found["per_second"]) for count, found in filled]),
        ):
            seen = [(x, y) for x, y in points if y]
            axes.plot(
                *zip(*seen, strict=True) if seen else ([], []), "o-", color=colour(index), label=label(mount)
            )
    _axis(
        by_size, "size of a message", {1 << 10: "1 KiB", 4 << 10: "4", 64 << 10: "64 KiB", 1 << 20: "1 MiB"}
    )
    _axis(by_writers, "threads into one Maildir", {1: "1", 8: "8", 32: "32"})
    _axis(by_directory, "messages in the directory", {10: "10", 10_000: "10 k", 100_000: "100 k"})
    by_size.set_ylabel("messages a second")
    _legend(figure, by_size)
    return svg_of(figure)


def _axis(axes: Any, title: str, ticks: dict[int, str]) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlim(min(ticks) / 1.6, max(ticks) * 1.6)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    least, most = axes.get_ylim()
    axes.set_ylim(least / 1.5, most * 1.5)  # a difference of a tenth must not look large
    axes.grid(axis="y", alpha=0.2)
    axes.set_title(title)
