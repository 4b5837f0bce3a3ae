"""`maildir-safe fsck`: checks a spool or a Maildir for damage, and mends it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys

from maildir_safe._check.fsck import SpoolCheck
from maildir_safe._check.fsck_maildir import MaildirCheck
from maildir_safe._cli.output import print_json, visible
from maildir_safe._fs.owner import as_owner
from maildir_safe._fs.posix import OsFileSystem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Check a spool or a Maildir for orphans, strays, doubles, misplaced files and unreadable files. "
        "Mail may come and go at the same time. No message is ever removed."
    )
    parser.add_argument("path", metavar="PATH", help="a spool or a Maildir")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended without risk")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per finding")


def run(args: argparse.Namespace) -> int:
    """Check. Returns 0 if nothing is (still) wrong, 1 if something is, 75 if a part could not be checked."""
    is_spool = os.path.isdir(os.path.join(args.path, "pending"))
    fs = as_owner(OsFileSystem(), args.path)
    check = SpoolCheck(args.path, args.fix, fs) if is_spool else MaildirCheck(args.path, args.fix, fs)
    wrong = mended = unknown = 0
    for finding in check.run():
        mended += finding.mended
        unknown += not finding.looked
        wrong += finding.looked and not finding.mended
        if args.json:
            print_json(dataclasses.asdict(finding))
        else:
            print(f"{visible(finding.path)}: {visible(finding.what)}{' (mended)' if finding.mended else ''}")
    what = "spool" if is_spool else "Maildir"
    if not args.json:
        counts = [f"{wrong} wrong, {mended} mended"] if wrong + mended else []
        counts += [f"{unknown} could not be checked: run fsck again when the storage answers"] * (unknown > 0)
        print(f"{what}: {', '.join(counts) or 'clean'}", file=sys.stderr)
    return 1 if wrong else 75 if unknown else 0
