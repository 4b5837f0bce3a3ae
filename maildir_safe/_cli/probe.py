"""`maildir-safe probe MOUNT`: tests how a mount behaves, and whether it is safe for mail."""

from __future__ import annotations

import argparse
import json
import sys

from maildir_safe._cli.ownership import add_as_root, check_owner
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.conflict import conflict_at
from maildir_safe._probe.probe import ProbeReport, probe

_SIGNS = {"ok": ("ok  ", "32"), "note": ("note", "33"), "bad": ("BAD ", "31")}
_COLOURS = {"SAFE": "32", "SAFE WITH OPTIONS": "32", "UNSAFE FOR SHARED QUEUES": "33", "UNSAFE": "31"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "mount", metavar="MOUNT", help="a directory on the mount; probe creates a folder there and removes it"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--second", metavar="MOUNT2", help="the same directory through a second mount")
    other.add_argument(
        "--token",
        type=_token,
        help="a new word; give the same one to probe on another host, and the two test the mount together",
    )
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    parser.add_argument(
        "--save", action="store_true", help="store the options in MOUNT, for all mail below it"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_as_root(parser)


def run(args: argparse.Namespace) -> int:
    """Probe. Returns 0 if safe, 1 if not, 75 if the directory is unusable or the options cannot be stored."""
    try:
        check_owner([args.mount] + [args.second] * bool(args.second), args)
        report = probe(args.mount, args.second, args.keep, args.token, _print_progress)
    except OSError as error:
        where = error.filename or args.mount
        conflicts = [conflict_at(OsFileSystem(), path) for path in (args.mount, args.second) if path]
        words = "; ".join(filter(None, conflicts)) or f"{where}: {error.strerror}"
        print(f"maildir-safe probe: {words}", file=sys.stderr)
        return 75
    finally:
        _print_progress("")
    stored = not args.save or _stored(report)
    print(json.dumps(report.as_dict()) if args.json else in_words(report))
    if not stored:
        return 75
    return 1 if report.verdict.startswith("UNSAFE") else 0


def _stored(report: ProbeReport) -> bool:
    from maildir_safe._probe.storing import store

    try:
        store(report)
    except OSError as error:
        print(f"maildir-safe probe: not stored in {report.path}: {error.strerror}", file=sys.stderr)
    return report.saved is not None


def _token(text: str) -> str:
    if not text.isalnum():
        raise argparse.ArgumentTypeError("a token consists of letters and digits")
    return text


def _print_progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{words and f'trying: {words}'}\033[K", end="", file=sys.stderr, flush=True)


def in_words(report: ProbeReport) -> str:
    """The verdict, the options to use, then one line per check."""
    from maildir_safe._cli.output import paint

    lines = [f"{report.path}: {paint(report.verdict, _COLOURS[report.verdict])}"]
    if report.use:
        for kind, names in (("Maildir", ("separator", "staging")), ("Queue", ("shared", "lease"))):
            words = [f"{name}={report.use[name]!r}" for name in names if name in report.use]
            if words:
                lines.append(f"  use: {kind}(path, {', '.join(words)})")
    if report.saved:
        lines.append(f"  stored in {report.saved}")
    bad = sum(check.result == "bad" for check in report.checks)  # these come first
    lines += [f"  {'because' if at < bad else 'mind the'} {why}" for at, why in enumerate(report.reasons)]
    lines.append("")
    for check in report.checks:
        sign, colour = _SIGNS[check.result]
        lines.append(f"{paint(sign, colour)}  {check.label:<32} {check.evidence}")
        if check.remedy:
            lines.append(f"      {'':<32} -> {check.remedy}")
    lines.append(
        "\nNo software can tell whether a disk or server keeps what it acknowledged when the power fails."
    )
    return "\n".join(lines)
