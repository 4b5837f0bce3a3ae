"""The comparison of mounts as a page, a table in Markdown, and a line while it runs."""

from __future__ import annotations

import html
from pathlib import Path
from string import Template
from typing import Any

from maildir_safe._bench.plots import INK, PALETTE, figure_of, svg_of
from maildir_safe._bench.runner import TOO_SLOW

Result = dict[str, Any]

ONE, GROUP, LINKED, BARE = "rename", "rename, groups of 128", "link + unlink", "rename, no fsync at all"
_DOTS = (
    (ONE, "one by one, durable", PALETTE[0], "o", 1.0),
    (GROUP, "in groups of 128, durable", PALETTE[1], "o", 1.0),
    (LINKED, "by link + unlink", PALETTE[5], "D", 1.0),
    (BARE, "no fsync: a crash loses mail", PALETTE[4], "o", 0.35),
)
_COLOURS = {
    "SAFE": "#2e9e5b",
    "SAFE WITH OPTIONS": "#2e9e5b",
    "UNSAFE FOR SHARED QUEUES": "#c98a1b",
    "UNSAFE": "#d33333",
}
_PAGE = Path(__file__).with_name("compare.html")


def case(result: Result, name: str) -> Result:
    """What `bench` measured of one way to deliver; empty if it did not."""
    cases = result["bench"]["cases"] if result["bench"] else []
    return next((one for one in cases if one["name"] == name), {})


def speed(result: Result, name: str) -> float | None:
    """Messages a second, or None."""
    value: float | None = case(result, name).get("per_second")
    return value


def amiss(result: Result) -> tuple[int, int]:
    """Messages lost and doubled, all cases together."""
    cases = result["bench"]["cases"] if result["bench"] else []
    return sum(one["lost"] for one in cases), sum(one["doubled"] for one in cases)


def line(result: Result) -> str:
    """One mount in one line."""
    if result["error"]:
        return f"{result['kind']:18} -  {result['error']}"
    words = [f"{_number(speed(result, name)):>8}" for name in (ONE, GROUP, LINKED)]
    return f"{result['kind']:18} {' '.join(words)}  {_verdict(result)}  {' '.join(result['failed'])}"


def table(results: Result) -> str:
    """All mounts in Markdown."""
    rows = [
        "| mount | verdict of `probe` | durability | one by one | groups of 128 | link + unlink"
        " | no fsync (unsafe) | lost / doubled | network calls | seen by the other client after |",
        "| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for result in measured(results):
        lost, doubled = amiss(result)
        calls = result["bench"] and result["bench"]["network_calls_per_message"]
        cells = [
            result["kind"] + (" (emulated)" if result["guest"] else ""),
            _verdict(result),
            ", ".join(case(result, ONE).get("durability", [])) or "-",
            *(_cell(result, name) for name in (ONE, GROUP, LINKED, BARE)),
            f"{lost} / {doubled}",
            f"{calls:.2f}" if calls is not None else "",
            _seen(result),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    text = f"{_environment(results)}\n\n" + "\n".join(rows) + "\n"
    left = [f"- {result['kind']}: {result['error']}" for result in results["mounts"] if result["error"]]
    left += [f"- {result['kind']}: {said}" for result in measured(results) for said in result["failed"]]
    return text + ("\nNot measured:\n\n" + "\n".join(left) + "\n" if left else "")


def measured(results: Result) -> list[Result]:
    """The mounts that came up."""
    return [result for result in results["mounts"] if not result["error"]]


def page(results: Result) -> str:
    """A self-contained HTML page."""
    found = [result for result in measured(results) if speed(result, ONE)]
    own = [result for result in found if not result["guest"]]
    emulated = [result for result in found if result["guest"]]
    plots = [_dots(own)] if own else []
    if emulated:
        plots.append(
            "<h2>In the emulated guest</h2><p class='soft'>Its processor is some 20 times slower: these"
            f" compare with each other alone.</p>{_dots(emulated)}"
        )
    return Template(_PAGE.read_text()).substitute(
        lead=html.escape(_lead(found)),
        plots="\n".join(plots),
        rows="\n".join(_row(result) for result in measured(results)),
        environment=html.escape(_environment(results)),
    )


def _lead(found: list[Result]) -> str:
    bad = [result["kind"] for result in found if sum(amiss(result))]
    lost = f"Messages were lost or doubled on {', '.join(bad)}." if bad else "None was lost or doubled."
    refused = [result["kind"] for result in found if _no_links(result)]
    return (
        f"{len(found)} mounts, each message looked for afterwards. {lost}"
        f" Programs that link mail into place fail on {len(refused)} of them: {', '.join(refused)}."
    )


def _dots(found: list[Result]) -> str:
    """A row for each mount, the fastest on top; a dot for each way to deliver."""
    found = sorted(found, key=lambda result: -(speed(result, ONE) or 0))
    figure, axes = figure_of(9, 1.0 + 0.32 * len(found))
    named = set()
    for row, result in enumerate(found):
        speeds = [value for name, *_ in _DOTS if (value := speed(result, name))]
        axes.plot([min(speeds), max(speeds)], [row, row], color=INK, alpha=0.25, linewidth=1, zorder=1)
        for name, label, colour, marker, alpha in _DOTS:
            value = speed(result, name)
            if value:
                axes.plot(value, row, marker, color=colour, alpha=alpha, markersize=7 if marker == "o" else 5,
                          label=None if name in named else label)  # fmt: skip
                named.add(name)
        verdict = _verdict(result)
        words = verdict + ("; no links" if _no_links(result) else "")
        axes.text(1.01, row, words, va="center", fontsize=8, color=_COLOURS.get(verdict, INK),
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_yticks(range(len(found)), [result["kind"] for result in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.grid(axis="x", alpha=0.2)
    axes.set_xlabel("messages of 4 KiB a second (each division ten times more)")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8)
    return svg_of(figure)


def _row(result: Result) -> str:
    lost, doubled = amiss(result)
    verdict = _verdict(result)
    reasons = "; ".join(result["probe"]["reasons"]) if result["probe"] else ""
    cells = [
        f'<span style="color:{_COLOURS.get(verdict, "inherit")}">{verdict}</span>',
        ", ".join(case(result, ONE).get("durability", [])),
        *(_cell(result, name) for name in (ONE, GROUP, LINKED, BARE)),
        f"{lost} / {doubled}",
        _seen(result),
        f'<span class="why">{html.escape(reasons)}</span>',
    ]
    return f"<tr><th>{result['kind']}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _verdict(result: Result) -> str:
    return result["probe"]["verdict"] if result["probe"] else "-"


def _cell(result: Result, name: str) -> str:
    error = case(result, name).get("error")
    if error:
        if name == LINKED and _no_links(result):
            return str(_facts(result).get("link-across", "error"))
        return "too slow" if error.startswith(TOO_SLOW) else "error"
    return _number(speed(result, name))


def _no_links(result: Result) -> bool:
    """Whether linking failed, and not for want of time."""
    error = case(result, LINKED).get("error") or ""
    return bool(error and not error.startswith(TOO_SLOW))


def _facts(result: Result) -> Result:
    return {check["id"]: check["value"] for check in result["probe"]["checks"]} if result["probe"] else {}


def _seen(result: Result) -> str:
    seconds = _facts(result).get("visibility")
    return f"{seconds:.1f} s" if seconds is not None else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _environment(results: Result) -> str:
    return ", ".join(f"{key} {value}" for key, value in results["environment"].items())
