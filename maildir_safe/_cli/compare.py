"""`maildir-safe compare BEFORE.json AFTER.json`: compares two results of `bench`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from maildir_safe._bench.stats import ratio_interval, verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("before", metavar="BEFORE.json", help="a file written by `bench --json`")
    parser.add_argument("after", metavar="AFTER.json", help="another one, from later or from elsewhere")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")


def run(args: argparse.Namespace) -> int:
    """Compare. Returns 0, or 75 if a file cannot be read or is not such a result."""
    try:
        before, after = (_cases(path) for path in (args.before, args.after))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"maildir-safe compare: not a result of bench --json: {error}", file=sys.stderr)
        return 75
    common = [key for key in before if key in after]
    if not common:
        print("maildir-safe compare: the two have no case in common", file=sys.stderr)
        return 75
    for key in common:
        ratio, low, high = ratio_interval(before[key], after[key])
        word = verdict(before[key], after[key])
        if args.json:
            fields = {
                "mount": key[0],
                "case": key[1],
                "ratio": ratio,
                "low": low,
                "high": high,
                "verdict": word,
            }
            print(json.dumps(fields))
        else:
            print(f"{key[0]:<10} {key[1]:<38} {ratio:5.2f} ({low:.2f} to {high:.2f})  {word}")
    return 0


def _cases(path: str) -> dict[tuple[str, str], list[float]]:
    """The rounds of each case, by mount and name. Several mounts of one type are numbered."""
    with open(path, encoding="utf-8") as file:
        results: dict[str, Any] = json.load(file)
    found: dict[tuple[str, str], list[float]] = {}
    for number, mount in enumerate(results["mounts"]):
        kinds = [other["fstype"] for other in results["mounts"][:number]]
        kind = mount["fstype"] + (f" {kinds.count(mount['fstype']) + 1}" if mount["fstype"] in kinds else "")
        found |= {(kind, case["name"]): case["rounds"] for case in mount["cases"] if case["rounds"]}
    return found
