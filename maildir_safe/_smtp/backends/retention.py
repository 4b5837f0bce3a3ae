"""Keeping a test inbox small: the newest N messages, or those of the last D days."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from maildir_safe._mailboxes import open_as_owner
from maildir_safe._names import arrival_time
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maildir_safe import Maildir
    from maildir_safe._mailbox_tree import MailboxTree

INTERVAL = 10.0
"""Seconds between two sweeps; for at most that long a Maildir may exceed its limit."""


def expired(keys: Iterable[str], keep: int | None, keep_seconds: float | None, now: float) -> list[str]:
    """Choose the messages to remove, by the times in their names. Pure.

    Args:
        keys: keys of all messages. A key that does not begin with a time is never removed or counted.
        keep: number of newest messages that stay; None: all.
        keep_seconds: highest age of a message, in seconds; None: any age.
        now: seconds since 1970.

    Returns:
        The keys to remove, oldest first.
    """
    aged = sorted((*when, key) for key in keys if (when := arrival_time(key)) is not None)
    surplus = 0 if keep is None else max(0, len(aged) - keep)
    oldest = float("-inf") if keep_seconds is None else now - keep_seconds
    return [key for place, (second, _, key) in enumerate(aged) if place < surplus or second < oldest]


def sweep(maildir: Maildir, keep: int | None, keep_seconds: float | None) -> int:
    """Remove expired messages, and return their number.

    Raises:
        TemporaryError: the Maildir cannot be listed, or a message cannot be removed.
    """
    keys = [message.key for message in maildir.messages()]
    return sum(maildir.discard(key) for key in expired(keys, keep, keep_seconds, time.time()))


async def keep_sweeping(
    tree: MailboxTree, keep: int | None, keep_seconds: float | None, complain: Callable[[str], None]
) -> None:
    """Call `sweep` for each Maildir every `INTERVAL` seconds until cancelled. Report errors, and go on."""
    while True:
        await asyncio.to_thread(_sweep_all, tree, keep, keep_seconds, complain)
        await asyncio.sleep(INTERVAL)


def _sweep_all(
    tree: MailboxTree, keep: int | None, keep_seconds: float | None, complain: Callable[[str], None]
) -> None:
    found = [place.path for place in tree.find() if not place.folder]
    for path in found if tree.many else [tree.root]:
        try:
            sweep(open_as_owner(path), keep, keep_seconds)
        except MaildirSafeError as error:
            complain(f"retention: {error}")
