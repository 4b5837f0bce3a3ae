"""The page's deletions: into the folder Trash of each Maildir, so that they can be undone, and later removed.

Other programs use a folder Trash too, so only messages with the flag T, which the page sets, are removed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from maildir_safe._maildir.maildir import Maildir
from maildir_safe._web.inbox import Closed, Inbox
from maildir_safe._web.placed import Placed
from maildir_safe.errors import MaildirSafeError

MOST = 1000
"""Most messages of one deletion that can be undone; more are removed at once."""
KEPT = 600.0
"""Seconds after which a message in the trash is removed."""
_MOST_DELETIONS = 50
_PAUSE = 30.0


@dataclass
class Deletion:
    """One deletion.

    Attributes:
        token: names it in a request to undo it; ``""``: it cannot be undone.
        done, failed: how many messages were deleted, and how many could not be.
    """

    token: str = ""
    done: int = 0
    failed: int = 0
    moved: list[Placed] = field(default_factory=list)


class Trash:
    """Deletes messages, and brings them back. `delete` and `undo` block; they are thread-safe.

    Args:
        inbox: the messages.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._deletions: dict[str, Deletion] = {}
        self._seen: dict[tuple[str, str], float] = {}

    def delete(self, messages: Sequence[Placed]) -> Deletion:
        """Delete messages; up to `MOST` of them go into the trash. A message that is gone is passed over."""
        deletion = Deletion(secrets.token_urlsafe(9) if 0 < len(messages) <= MOST else "")
        for message in messages:
            try:
                if deletion.token:
                    self._inbox.maildir.trash(message)
                    deletion.moved.append(message)
                elif not self._inbox.maildir.discard(message.key):
                    continue
                deletion.done += 1
            except KeyError:
                continue
            except (MaildirSafeError, OSError):
                deletion.failed += 1
        if deletion.moved:
            self._deletions[deletion.token] = deletion
            while len(self._deletions) > _MOST_DELETIONS:
                self._deletions.pop(next(iter(self._deletions)), None)
        return deletion

    def find(self, token: str) -> Deletion | None:
        """The deletion that can be undone with this token."""
        return self._deletions.get(token)

    def undo(self, token: str) -> Deletion | None:
        """Bring the messages of a deletion back, each once; None: it cannot be undone any more."""
        deletion = self._deletions.pop(token, None)
        if deletion is None:
            return None
        undone = Deletion()
        for message in deletion.moved:
            try:
                self._inbox.maildir.restore(message)
                undone.done += 1
            except (KeyError, MaildirSafeError, OSError):
                undone.failed += 1
        return undone

    def empty(self) -> None:
        """Remove what this process saw in the trash longer than `KEPT` ago. Must not run twice at a time."""
        now, seen = time.monotonic(), dict[tuple[str, str], float]()
        for maildir in self._inbox.maildir.trashes():
            try:
                self._empty(maildir, now, seen)
            except MaildirSafeError:
                continue
        self._seen = seen

    def _empty(self, maildir: Maildir, now: float, seen: dict[tuple[str, str], float]) -> None:
        for message in maildir.messages():
            if "T" not in message.flags:
                continue
            since = self._seen.get((maildir.path, message.key), now)
            if now - since >= KEPT:
                maildir.discard(message.key)
            else:
                seen[maildir.path, message.key] = since


async def keep_emptying(trash: Trash, inbox: Inbox) -> None:
    """Empty the trash from time to time, until the inbox is closed."""
    while True:
        try:
            await inbox.rest(_PAUSE)
        except Closed:
            return
        await asyncio.to_thread(trash.empty)
