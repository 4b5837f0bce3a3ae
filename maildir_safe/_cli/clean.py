"""`maildir-safe clean`: runs the janitor in a Maildir and its folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from maildir_safe._cli.maildir_argument import open_maildir
from maildir_safe._cli.output import bytes_text, print_json, visible
from maildir_safe._maildir.janitor import CleanReport
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import MaildirSafeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Remove files that interrupted deliveries left in a Maildir and its folders 36 or more hours ago, by "
        "the file server's own clock. Messages in new/ and cur/ are never touched."
    )
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    parser.add_argument("--json", action="store_true", help="print JSON: removed, kept, failed, bytes")


def run(args: argparse.Namespace) -> int:
    """Clean. Returns 0, or 1 if something could not be removed."""
    maildir = open_maildir(args.maildir, None)
    removed: list[str] = []
    failed: list[tuple[str, str]] = []
    kept = size = 0
    for path, report in _each(maildir, args.dry_run, failed):
        removed += [f"{path}/{name}" for name in report.removed]
        failed += [(f"{path}/{name}", why) for name, why in report.failed]
        kept += report.kept
        size += report.bytes
    if args.json:
        print_json(
            {"removed": removed, "kept": kept, "failed": failed, "bytes": size, "dry_run": args.dry_run}
        )
        return 1 if failed else 0
    for path in removed:
        print(visible(path))
    for path, why in failed:
        print(f"{visible(path)}: {visible(why)}", file=sys.stderr)
    done = f"{len(removed)} {'would be removed' if args.dry_run else 'removed'} ({bytes_text(size)})"
    print(f"{done}, {kept} too young, {len(failed)} failed", file=sys.stderr)
    return 1 if failed else 0


def _each(
    maildir: Maildir, dry_run: bool, failed: list[tuple[str, str]]
) -> Iterator[tuple[str, CleanReport]]:
    """Clean the Maildir, then its folders. If one fails, go on with the others."""
    yield maildir.path, maildir.clean(dry_run)
    for name in maildir.folders():
        try:
            folder = maildir.folder(name, create=False)
            yield folder.path, folder.clean(dry_run)
        except (MaildirSafeError, ValueError) as error:
            failed.append((f"{maildir.path}: folder {name}", str(error)))
