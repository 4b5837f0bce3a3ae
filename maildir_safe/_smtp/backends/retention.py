"""Keeping a test inbox small: the newest N messages, or those of the last D days."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from maildir_safe._names import arrival_time
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maildir_safe import Maildir

INTERVAL = 10.0
"""Seconds between two looks: that long a Maildir may hold more than it should."""


def expired(keys: Iterable[str], keep: int | None, keep_seconds: float | None, now: float) -> list[str]:
    """Which messages are to go, by the times in their names. Pure.

    Args:
        keys: of all messages. What does not begin with a time is nobody's to remove, and not counted.
        keep: how many of the newest stay; None for all.
        keep_seconds: how old a message may get; None for any age.
        now: seconds since 1970.

    Returns:
        Keys, oldest first.
    """
    aged = sorted((*when, key) for key in keys if (when := arrival_time(key)) is not None)
    surplus = 0 if keep is None else max(0, len(aged) - keep)
    oldest = float("-inf") if keep_seconds is None else now - keep_seconds
    return [key for place, (second, _, key) in enumerate(aged) if place < surplus or second < oldest]


def sweep(maildir: Maildir, keep: int | None, keep_seconds: float | None) -> int:
    """Remove what is expired; how many messages were removed.

    Raises:
        TemporaryError: the Maildir cannot be listed, or a message not be removed.
    """
    keys = [message.key for message in maildir.messages()]
    return sum(maildir.discard(key) for key in expired(keys, keep, keep_seconds, time.time()))


async def keep_sweeping(
    maildir: Maildir, keep: int | None, keep_seconds: float | None, complain: Callable[[str], None]
) -> None:
    """`sweep` beside the event loop until cancelled; a failure is told and tried again later."""
    while True:
        try:
            await asyncio.to_thread(sweep, maildir, keep, keep_seconds)
        except MaildirSafeError as error:
            complain(f"retention: {error}")
        await asyncio.sleep(INTERVAL)
