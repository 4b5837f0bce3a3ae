"""One mailbox as the pages show it."""

from __future__ import annotations

from collections.abc import Collection

from maildir_safe._web.messages import Messages
from maildir_safe._web.ordering import order, printable


class Box:
    """One mailbox of an inbox, or all of them together.

    Attributes:
        name: the mailbox's name; ``""``: all together.
        messages: its messages, newest first, by the last listing.
        version: increases whenever a listing differs from the previous one.
        unread: number of messages without the flag "seen".
        latest: key of the message that arrived last; ``""`` before the first.
    """

    def __init__(self, name: str) -> None:
        self.name, self.version, self.unread, self.latest = name, 0, 0, ""
        self.messages = Messages([], {})

    def show(self, messages: Messages, version: int, fresh: Collection[str], unread: int) -> None:
        """Take over a new listing.

        Args:
            messages: all messages.
            version: the listing's version.
            fresh: the ids of those that arrived since the last listing.
            unread: the number of unread messages.
        """
        self.messages, self.version, self.unread = messages, version, unread
        if fresh:
            newest = messages.ids[0] if len(fresh) == len(messages) else max(fresh, key=order)
            self.latest = printable(newest)
