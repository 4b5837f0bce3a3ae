"""`maildir-safe torture DIR`: does this mount keep what it acknowledged when writers are killed?"""

from __future__ import annotations

import argparse
import json
import random
import sys

from maildir_safe.check.torture import TortureReport, torture
from maildir_safe.cli.progress import progress_bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "directory", metavar="DIR", help="a directory on the mount; a sub-folder of it is used"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to go on (default: 1)")
    parser.add_argument(
        "--writers", type=int, default=4, help="processes that deliver at a time (default: 4)"
    )
    parser.add_argument("--seed", type=int, help="of the random moments (default: another each time)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """0: nothing lost, doubled or torn; 1: something was; 75: the directory cannot be used."""
    if args.writers < 1 or args.minutes <= 0:
        print("maildir-safe torture: --writers and --minutes must be above 0", file=sys.stderr)
        return 64
    seed = random.randrange(1 << 32) if args.seed is None else args.seed
    try:
        with progress_bar(f"torture {args.directory}") as progress:
            report = torture(args.directory, args.minutes * 60, args.writers, seed, progress)
    except OSError as error:
        print(f"maildir-safe torture: {args.directory}: {error.strerror}", file=sys.stderr)
        return 75
    print(json.dumps({**report.as_dict(), "seed": seed}) if args.json else in_words(report, seed))
    return 0 if report.passed else 1


def in_words(report: TortureReport, seed: int) -> str:
    """The result as a person reads it."""
    lines = [
        f"{report.acknowledged} messages acknowledged in {report.seconds:.0f} s (durability"
        f" {', '.join(sorted(report.durability)) or '-'}), {report.kills} writers killed,"
        f" {report.retried} deliveries repeated after a kill; seed {seed}",
        f"lost {len(report.lost)}, doubled {len(report.doubled)}, partial {len(report.partial)},"
        f" of unknown origin {len(report.unknown)}",
    ]
    if report.passed:
        lines.append(
            f"Nothing lost, nothing doubled. A run of this size shows, with 95 % confidence, that fewer than"
            f" 1 in {int(1 / report.bound())} messages would be."
        )
    elif not report.acknowledged:
        lines.append("Nothing was delivered at all: this run proves nothing.")
    else:
        lines.append("This mount does not keep what it acknowledged. The first cases:")
        lines += [
            f"  {case}" for case in (report.lost + report.doubled + report.partial + report.unknown)[:10]
        ]
    lines += [f"  {count} x {text}" for text, count in report.errors.most_common(5)]
    return "\n".join([*lines, "Killing processes shows nothing about power failures: see docs/proof.md."])
