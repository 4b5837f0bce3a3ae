"""`maildir-safe bench MOUNT…`: measures how fast mail is on a mount, and what safety costs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from maildir_safe._bench.runner import bench, environment
from maildir_safe._cli.arguments import add_staging
from maildir_safe._cli.ownership import add_as_root, check_owner
from maildir_safe._cli.progress import progress_bar
from maildir_safe._fs.owner import refuse_to_write_as_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("mounts", nargs="+", metavar="MOUNT", help="a directory on each mount")
    parser.add_argument("--quick", action="store_true", help="under 30 seconds per mount")
    parser.add_argument("--json", metavar="FILE", help="write all measurements; '-' is standard output")
    parser.add_argument("--html", metavar="FILE", help="write a report with plots (extra 'bench')")
    add_staging(parser)
    add_as_root(parser)


def run(args: argparse.Namespace) -> int:
    """Measure. Returns 0; 1 if a message was lost or doubled; 75 if a mount cannot be used."""
    if args.html:
        try:
            import matplotlib  # noqa: F401 - fail before spending minutes on measuring

            from maildir_safe._bench.report import report
        except ImportError:
            print("--html needs the bench extra: pip install 'maildir-safe[bench]'", file=sys.stderr)
            return 75
    for path in filter(None, (args.json, args.html)):
        if path != "-":
            refuse_to_write_as_root(path)  # now, not after minutes of measuring
    results: dict[str, Any] = {"environment": environment(), "mounts": []}
    for mount in args.mounts:
        try:
            check_owner([mount], args)
            with progress_bar(f"bench {mount}") as progress:
                results["mounts"].append(bench(mount, args.quick, progress, args.staging))
        except OSError as error:
            print(f"maildir-safe bench: {mount}: {error.strerror}", file=sys.stderr)
            return 75
    if args.json == "-":
        print(json.dumps(results))
    else:
        print("\n\n".join(in_words(mount) for mount in results["mounts"]))
    if args.json and args.json != "-":
        _write(args.json, json.dumps(results, indent=1) + "\n")
    if args.html:
        _write(args.html, report(results))
    return int(any(case["lost"] or case["doubled"] for mount in results["mounts"] for case in mount["cases"]))


def _write(path: str, text: str) -> None:
    refuse_to_write_as_root(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def in_words(mount: dict[str, Any]) -> str:
    """The results of a mount as a table for people."""
    lines = [
        f"{mount['path']}: {mount['fstype']} from {mount['source']}",
        f"  {'':<38}{'msg/s':>9}  {'±':>4}  {'p50 ms':>8} {'p99 ms':>8}  lost doubled stalls",
    ]
    for case in mount["cases"]:
        mark = "" if case["safe"] else "  UNSAFE: a crash may lose acknowledged mail"
        if case["error"]:
            lines.append(f"  {case['name']:<38}{'-':>9}  {case['error']}")
            continue
        sums = {key: sum(step[key] for step in case["steps"].values()) * 1e3 for key in ("p50", "p99")}
        times = f"{sums['p50']:>8.3f} {sums['p99']:>8.3f}" if case["steps"] else f"{'-':>8} {'-':>8}"
        spread = "one" if case["spread"] is None else f"{case['spread']:.0%}"  # round
        lines.append(
            f"  {case['name']:<38}{case['per_second']:>9.0f}  {spread:>4}  {times}"
            f"  {case['lost']:>4} {case['doubled']:>7} {case['stalls']:>6}{mark}"
        )
    for count, found in mount["filled"].items():
        where = f"in a directory of {int(count):,}"
        lines.append(f"  {where:<38}{found['per_second']:>9.0f}  {found['spread']:>4.0%}")
    if mount["reading"]:
        reading = mount["reading"]
        lines.append(
            f"  listing {reading['listed_per_second']:.0f} names/s,"
            f" reading {reading['read_per_second']:.0f} messages/s"
        )
    if mount["network_calls_per_message"] is not None:
        lines.append(f"  {mount['network_calls_per_message']:.2f} network calls per message")
    return "\n".join(lines)
