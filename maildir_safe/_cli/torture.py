"""`maildir-safe torture DIR`: tests whether a mount keeps acknowledged mail when processes are killed."""

from __future__ import annotations

import argparse
import json
import random
import sys

from maildir_safe._check.torture import MaildirReport, torture
from maildir_safe._check.torture_queue import QueueReport, torture_queue
from maildir_safe._cli.arguments import add_staging
from maildir_safe._cli.ownership import add_as_root, check_owner
from maildir_safe._cli.progress import progress_bar
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.conflict import conflict_at
from maildir_safe.errors import TemporaryError

DESCRIPTION = """\
Kill processes at random moments on a mount, and compare the messages acknowledged to them with the
messages that are there. By default they are writers that deliver into Maildirs. With --queue,
putters put messages into a spool, and as many workers (at least three) deliver from it into a
Maildir. Both are killed, and workers are also stopped until they lose their lease. Then the queue
is drained, which takes extra time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "directory", metavar="DIR", help="a directory on the mount; torture works in a new folder in it"
    )
    parser.add_argument("--queue", action="store_true", help="torture a queue instead of Maildirs")
    parser.add_argument("--minutes", type=float, default=1.0, help="duration in minutes (default: 1)")
    parser.add_argument(
        "--writers", type=int, default=4, help="number of processes that deliver (default: 4)"
    )
    parser.add_argument("--seed", type=int, help="seed of the random moments (default: a random one)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_staging(parser)
    add_as_root(parser)


def run(args: argparse.Namespace) -> int:
    """Run. Returns 0 if the mount passed, 1 if not, 75 if the directory or a message cannot be read."""
    if args.writers < 1 or args.minutes <= 0:
        print("maildir-safe torture: --writers and --minutes must be above 0", file=sys.stderr)
        return 64
    seed = random.randrange(1 << 32) if args.seed is None else args.seed
    report: MaildirReport | QueueReport
    try:
        check_owner([args.directory], args)
        with progress_bar(f"torture {args.directory}") as progress:
            kind = torture_queue if args.queue else torture
            report = kind(args.directory, args.minutes * 60, args.writers, seed, progress, args.staging)
    except (OSError, TemporaryError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        words = conflict_at(OsFileSystem(), args.directory) or f"{args.directory}: {reason}"
        print(f"maildir-safe torture: {words}", file=sys.stderr)
        return 75
    print(json.dumps({**report.as_dict(), "seed": seed}) if args.json else in_words(report, seed))
    if report.unreadable and not report.wrong:
        return 75
    return 0 if report.passed else 1


def in_words(report: MaildirReport | QueueReport, seed: int) -> str:
    """The result in words for people."""
    left = report.left if isinstance(report, QueueReport) else []
    lines = [
        f"{report.acknowledged} messages acknowledged in {report.seconds:.0f} s (durability"
        f" {', '.join(sorted(report.durability)) or '-'}), {_story(report)}; seed {seed}",
        f"lost {len(report.lost)}, doubled {len(report.doubled)}, partial {len(report.partial)},"
        f" of unknown origin {len(report.unknown)}"
        + (f", could not be read {len(report.unreadable)}" if report.unreadable else "")
        + (f", left in the queue {len(left)}" if left else ""),
    ]
    if report.filled:
        lines.append(
            "Ended early, so as not to fill the mount: nine tenths of its space are used."
            " A longer run needs a larger mount."
        )
    if report.passed:
        lines.append(
            f"Nothing lost, nothing doubled. A run of this size shows, with 95 % confidence, that fewer than"
            f" 1 in {int(1 / report.bound())} messages would be."
        )
    elif not report.acknowledged:
        lines.append("Nothing was acknowledged at all: this run proves nothing.")
    elif report.unreadable and not report.wrong:
        lines.append(
            f"Messages that could not be read are not lost: repair the mount, then look in {report.kept}"
        )
        lines += [f"  {case}" for case in sorted(set(report.unreadable))[:10]]
    else:
        slow = report.wrong == left
        what = "The queue did not drain in time" if slow else "This mount does not keep what it acknowledged"
        lines.append(f"{what}. The first cases:")
        lines += [f"  {case}" for case in report.wrong[:10]]
    lines += [f"  {count} x {text}" for text, count in report.errors.most_common(5)]
    return "\n".join(
        [*lines, "Killing processes shows nothing about power failures: see docs/explanation/proof.md."]
    )


def _story(report: MaildirReport | QueueReport) -> str:
    """What was done to the processes."""
    if isinstance(report, MaildirReport):
        return f"{report.kills} writers killed, {report.retried} deliveries repeated after a kill"
    alone = "" if report.shared else "; one host only, since hosts must not share a spool on this mount"
    return (
        f"{report.kills - report.workers_killed} putters and {report.workers_killed} workers killed,"
        f" {report.stopped} workers stopped, {report.leases_lost} leases of {report.lease} s lost"
        f" with {report.claims_lost} messages in hand{alone}"
    )
