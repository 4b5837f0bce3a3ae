"""`maildir-safe queue hold|unhold|retry|rm`: by id, or all of a sender or a domain."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from maildir_safe._cli import REFUSED, TEMPORARY, WRONG
from maildir_safe._cli.output import visible
from maildir_safe.errors import PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maildir_safe._queue.admin import QueueEntry
    from maildir_safe._queue.queue import Queue

_SELECTED = {
    "hold": ("pending", "claimed"),
    "unhold": ("hold",),
    "retry": ("pending", "failed", "claimed"),
    "rm": ("pending", "hold", "failed", "corrupt", "claimed"),
}
"""The states of the items that --all, --sender and --domain select. What was paused stays paused; what a
worker has claimed is reported."""


def add_selection(parser: argparse.ArgumentParser, action: str) -> None:
    """Declare the arguments that select the items of an action."""
    states = [f"{state}/" for state in _SELECTED[action] if state != "claimed"]
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--all", action="store_true", help=f"all items in {', '.join(states)}")
    parser.add_argument("--sender", metavar="ADDRESS", help="those of this sender ('' or '<>': bounces)")
    parser.add_argument("--domain", metavar="DOMAIN", help="those with a recipient in this domain")


def run(queue: Queue, args: argparse.Namespace) -> int:
    """Change the items. Each is tried, whatever happened to the others.

    Returns:
        0; 75 if a worker has one or the storage failed; 65 if one is damaged; 1 if one does not exist.

    Raises:
        ValueError: the arguments select nothing, or by two ways.
    """
    chosen = args.all or args.sender is not None or args.domain is not None
    if chosen == bool(args.ids):
        raise ValueError("name the items by ID, or select them by --all, --sender or --domain")
    if args.all and (args.sender is not None or args.domain is not None):
        raise ValueError("--all is all items: without --sender and --domain")
    act: dict[str, Callable[[str | QueueEntry], None]] = {
        "hold": queue.hold, "unhold": queue.unhold, "retry": queue.retry, "rm": queue.remove,
    }  # fmt: skip
    codes, count = {0}, 0
    for item in list(_selected(queue, args)) if chosen else args.ids:
        try:
            act[args.action](item)
            count += 1
        except KeyError as error:
            codes.add(_left(WRONG, str(error.args[0])))
        except (TemporaryError, PermanentError) as error:
            codes.add(_left(REFUSED if isinstance(error, PermanentError) else TEMPORARY, str(error)))
    if chosen:
        print(f"maildir-safe queue: {args.action}: {count} items", file=sys.stderr)
    return max(codes)


def _left(code: int, why: str) -> int:
    print(f"maildir-safe queue: {visible(why)}", file=sys.stderr)
    return code


def _selected(queue: Queue, args: argparse.Namespace) -> Iterator[QueueEntry]:
    for state in _SELECTED[args.action]:
        for listed in queue.items(state):
            if args.all or _matches(queue, listed, args.sender, args.domain):
                yield listed


def _matches(queue: Queue, listed: QueueEntry, sender: str | None, domain: str | None) -> bool:
    envelope = queue.envelope(listed)
    if envelope is None:  # it has moved, or cannot be read
        return False
    if sender is not None and envelope.sender.casefold() != sender.strip("<>").casefold():
        return False
    domains = {recipient.rpartition("@")[2].casefold() for recipient in envelope.recipients}
    return domain is None or domain.casefold() in domains
