"""A mailbox's messages as a listing showed them, and what has changed since the one before.

A message is identified by its key; outside the one Maildir, and in folders, by its key, ``~`` and eight
digits that stand for the mailbox, since two mailboxes may hold copies of one file. An id costs far less
than an object, so the messages of a mailbox are kept as names alone.
"""

from __future__ import annotations

import hashlib

from maildir_safe._mailbox_tree import INBOX
from maildir_safe._maildir.listed import difference, keys_of
from maildir_safe._maildir.message_store import Message
from maildir_safe._names import flags_of, split


class Placed(Message):
    """a message of a mailbox set.

    Attributes:
        key: its id in the set.
        own: its key in its Maildir.
        mailbox: the name of its mailbox.
    """

    __slots__ = ("mailbox", "own")

    def __init__(self, subdir: str, name: str, own: str, mailbox: str, mark: str) -> None:
        self.subdir, self.name, self.own = subdir, name, own
        self.key, self.mailbox = own + mark, mailbox


def mark(name: str) -> str:
    """What follows the key in the id of a message in this mailbox."""
    return "" if name == INBOX else f"~{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


class Part:
    """The messages of one mailbox as the last listing showed them, by name alone. It is never changed.

    Args:
        mailbox: the mailbox's name.
        new, cur: the files' names by key. A message in both counts in new/.
        before: the listing before; what has not changed since is not counted again.

    Attributes:
        mark: what follows the keys in the messages' ids.
    """

    def __init__(
        self, mailbox: str, new: dict[str, str], cur: dict[str, str], before: Part | None = None
    ) -> None:
        self.mailbox, self.mark, self.new, self.cur = mailbox, mark(mailbox), new, cur
        same = before is not None and before.cur is cur
        self._unseen: int = before._unseen if before and same else sum(map(_is_unseen, _unusual(cur)))

    @property
    def unread(self) -> int:
        """The number of messages without the flag "seen"."""
        twice = sum(_is_unseen(self.cur[key]) for key in self.new.keys() & self.cur.keys())
        return len(self.new) + self._unseen - twice

    def get(self, own: str) -> Placed | None:
        """The message with this key in its Maildir."""
        subdir, name = self.place(own)
        return Placed(subdir, name, own, self.mailbox, self.mark) if subdir else None

    def place(self, own: str) -> tuple[str, str]:
        """The directory and the name of a message; both are empty if there is none."""
        name = self.new.get(own)
        if name is not None:
            return "new", name
        name = self.cur.get(own)
        return ("", "") if name is None else ("cur", name)

    def ids(self) -> list[str]:
        """The ids of all messages, in no order."""
        cur = self.cur.keys() - self.new.keys() if self.new.keys() & self.cur.keys() else self.cur
        return [key + self.mark for key in (*self.new, *cur)] if self.mark else [*self.new, *cur]


def _unusual(names: dict[str, str]) -> list[str]:
    """The names that do not end as that of a message that was read and no more."""
    return [name for name in names.values() if not name.endswith(":2,S")]


def _is_unseen(name: str) -> bool:
    return "S" not in flags_of(split(name)[1])


class Changes:
    """What listings found: ids of messages.

    Attributes:
        come: messages that appeared.
        gone: messages that disappeared.
        renamed: messages that have another name now, such as by a change of flags.
    """

    def __init__(self) -> None:
        self.come: set[str] = set()
        self.gone: set[str] = set()
        self.renamed: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self.come or self.gone or self.renamed)

    def compare(self, before: Part, after: Part) -> None:
        """Add what has changed between two listings of a mailbox."""
        if not (before.new or before.cur):
            self._gain(after.ids())
            return
        keys: set[str] = set()
        for old, new in ((before.new, after.new), (before.cur, after.cur)):
            if old is not new:
                come, gone = difference([*old.values()], [*new.values()])
                keys.update(keys_of(come | gone))
        for key in keys:
            old_place, new_place = before.place(key), after.place(key)
            if old_place == new_place:
                continue
            if not old_place[0]:
                self._gain([key + after.mark])
            elif not new_place[0]:
                self._lose(key + after.mark)
            else:
                self.renamed.add(key + after.mark)

    def _gain(self, ids: list[str]) -> None:
        back = self.gone.intersection(ids) if self.gone else set()
        self.gone -= back
        self.renamed |= back
        self.come.update(ids)
        self.come -= back

    def _lose(self, key: str) -> None:
        self.renamed.discard(key)
        if key in self.come:
            self.come.discard(key)
        else:
            self.gone.add(key)
