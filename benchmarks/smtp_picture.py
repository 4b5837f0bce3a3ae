"""One picture of `benchmarks.smtp --save`: ``python -m benchmarks.smtp_picture [RESULTS] [PICTURE]``.

Messages a second of everybody at 32 connections, and as a line the limit: what our front end takes when
nothing is stored. Needs the extra `bench`.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.smtp_servers import CHASQUID, FRONT, OPENSMTPD, SMTP

HERE = Path(__file__).resolve().parent
RESULTS, PICTURE = HERE / "results/smtp.json", HERE.parent / "docs/img/smtp.png"
_CONNECTIONS = 32
_OURS, _DURABLE, _NOT_DURABLE = "#2a6f4e", "#8a8f98", "#d3d6da"
_FILE_ONLY = ("handlers.Mailbox", "Postfix")
_NOTHING = (OPENSMTPD, CHASQUID, "storing nothing")


def medians(results: dict[str, dict[str, list[float]]], connections: int) -> dict[str, float]:
    """Messages a second of each server, the fastest first, at so many connections."""
    ending = f", {connections}"
    rates = {
        name.removesuffix(ending): statistics.median(found)
        for name, found in results["rates"].items()
        if name.endswith(ending) and found and not any(map(math.isnan, found))  # it refused some
    }
    return dict(sorted(rates.items(), key=lambda pair: -pair[1]))


def label(name: str) -> str:
    """What stands beside a bar: the server, and what is durable at its 250."""
    if any(part in name for part in _NOTHING):
        return f"{name}\n(nothing is durable)"
    return f"{name}\n(the file is durable)" if any(part in name for part in _FILE_ONLY) else name


def draw(rates: dict[str, float], about: dict[str, object], picture: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    limit = rates.get(FRONT)
    bars = {name: rate for name, rate in reversed(rates.items()) if name != FRONT}
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(bars) + 1.4), layout="constrained")
    names = [label(name) for name in bars]
    drawn = axes.barh(names, list(bars.values()), color=[_colour(name) for name in bars], height=0.7)
    axes.bar_label(drawn, labels=[f"{rate:,.0f}" for rate in bars.values()], padding=4, fontsize=8)
    if limit:
        axes.axvline(limit, color="#b3261e", linestyle="--", linewidth=1)
        axes.text(limit, 1.01, f"{SMTP} with nothing stored: {limit:,.0f} ", color="#b3261e", fontsize=8,
                  ha="right", transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xlabel(
        f"messages of {about['message_bytes']} bytes a second, {_CONNECTIONS} connections,"
        f" {about['cpus']} processors, {about['mount']}\ngreen and dark grey: durable when it answers 250",
        fontsize=8,
    )
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _colour(name: str) -> str:
    if name.startswith("maildir_safe"):
        return _OURS
    return _DURABLE if label(name) == name else _NOT_DURABLE


def main(arguments: Sequence[str]) -> int:
    """The command."""
    source, picture = [Path(one) for one in arguments] or (RESULTS, PICTURE)
    results = json.loads(source.read_text())
    draw(medians(results, _CONNECTIONS), results["about"], picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
