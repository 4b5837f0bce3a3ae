"""`maildir-safe queue fence`: takes over at once from a host that is known to be dead."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from maildir_safe._cli import TEMPORARY, USAGE, WRONG
from maildir_safe._cli.output import visible
from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from maildir_safe._queue.queue import Queue

DESCRIPTION = "return what the workers of a dead host had claimed, before their leases end"
_TRUST = """\
This trusts you that {host} is dead: powered off, or cut off from the storage. If it lives, a message that
it is sending may be sent twice. None is lost."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("host", metavar="HOST", help="its host name")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(queue: Queue, args: argparse.Namespace) -> int:
    """Ask, and fence the host.

    Returns:
        0; 64 if there is nobody to ask; 1 if the answer is not yes or no worker of this name is known;
        75 if the storage does not answer.

    Raises:
        ValueError: the host is this one.
    """
    host = visible(args.host)
    if not args.yes:
        print(_TRUST.format(host=host), file=sys.stderr)
        if not sys.stdin.isatty():
            print("maildir-safe queue: nobody can be asked here: --yes", file=sys.stderr)
            return USAGE
        print(f"Fence {host}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("maildir-safe queue: nothing was changed", file=sys.stderr)
            return WRONG
    try:
        workers, items = queue.fence(args.host)
    except TemporaryError as error:
        print(f"maildir-safe queue: {visible(str(error))}", file=sys.stderr)
        return TEMPORARY
    print(f"maildir-safe queue: {host}: {workers} workers fenced, {items} items returned", file=sys.stderr)
    return 0 if workers else WRONG
