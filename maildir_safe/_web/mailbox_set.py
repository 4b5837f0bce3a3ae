"""The Maildirs whose messages the page shows: one with its folders, or those of many addresses.

A message is identified by its key; outside the one Maildir, and in folders, by its key, ``~`` and eight
digits that stand for the mailbox, since two mailboxes may hold copies of one file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import BinaryIO

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._mailbox_tree import INBOX, MailboxTree, Place
from maildir_safe._mailboxes import Mailboxes, NoSuchMailbox, open_as_owner
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._maildir.message_store import Message
from maildir_safe._maildir.side_file import SideFiles
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe.errors import MaildirSafeError

_COARSEST = 2.5  # seconds; vfat keeps times in steps of 2
_KEPT_OPEN = 4


class Placed(Message):
    """a message of a mailbox set.

    Attributes:
        key: its id in the set.
        own: its key in its Maildir.
        mailbox: the name of its mailbox.
    """

    __slots__ = ("mailbox", "own")

    def __init__(self, message: Message, mailbox: str, mark: str) -> None:
        self.subdir, self.name, self.own = message.subdir, message.name, message.key
        self.key, self.mailbox = message.key + mark, mailbox


def mark(name: str) -> str:
    """What follows the key in the id of a message in this mailbox."""
    return "" if name == INBOX else f"~{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


class _Held:
    """One Maildir of the set, and the messages that it had when it was last listed."""

    def __init__(self, place: Place, maildir: Maildir) -> None:
        self.place, self.maildir, self.mark = place, maildir, mark(place.name)
        self.messages: dict[Message, Placed] = {}
        self._stamp, self._stamped, self._stable = (-1, -1), 0.0, False

    def refresh(self, force: bool) -> bool:
        """List the Maildir if it may have changed; return whether it was listed. Raises TemporaryError.

        Unchanged times of its directories show that it has not, once they have been unchanged for longer
        than the coarsest timestamp resolution of any file system.
        """
        now, stamp = time.monotonic(), self.maildir.stamp()
        if stamp != self._stamp:
            self._stamp, self._stamped, self._stable = stamp, now, False
        if self._stable and not force:
            return False
        known, name = self.messages, self.place.name
        self.messages = {
            message: known.get(message) or Placed(message, name, self.mark)
            for message in self.maildir.messages()
        }
        self._stable = now - self._stamped > _COARSEST
        return True


class MailboxSet:
    """Several Maildirs as one. `refresh` must not run twice at a time.

    Args:
        tree: finds the Maildirs.
        open_maildir: opens the Maildir at a path.
        mailboxes: finds and opens the Maildir of an address, for messages that a request sends. None:
            every address is the one Maildir's.
        files: where tags are kept; by default in the directory of `tree`.

    Attributes:
        path: the directory that holds them, or the one Maildir.
        troubles: why a mailbox could not be listed, by name.
    """

    def __init__(
        self,
        tree: MailboxTree,
        open_maildir: Callable[[str], Maildir] = open_as_owner,
        mailboxes: Mailboxes | None = None,
        files: SideFiles | None = None,
    ) -> None:
        self.path, self.troubles = tree.root, dict[str, str]()
        self._tree, self._open, self._mailboxes = tree, open_maildir, mailboxes
        self._found: dict[str, Place] = {}
        self._held: dict[str, _Held] = {}
        self.files = files or SideFiles(OsFileSystem(), tree.root)
        self._marks: dict[str, str] = {}

    @classmethod
    def of(cls, maildir: Maildir) -> MailboxSet:
        """One Maildir, and its folders."""
        return cls(MailboxTree(maildir.path), lambda _: maildir, files=SideFiles.beside(maildir))

    @property
    def names(self) -> list[str]:
        """The names of the mailboxes that were found last, each before its folders."""
        return [*self._found]

    @property
    def complete(self) -> bool:
        """Whether all mailboxes were found; False if there are too many."""
        return self._tree.complete

    @property
    def alone(self) -> bool:
        """Whether this is one Maildir without folders."""
        return not self.many and len(self._found) < 2

    @property
    def many(self) -> bool:
        """Whether a template gives each address its own mailbox."""
        return self._tree.many

    def folder_of(self, name: str) -> str:
        """The name of the folder that a mailbox is; ``""`` if it is none, or has gone."""
        place = self._found.get(name)
        return place.folder if place else ""

    def refresh(self, force: bool = False) -> bool:
        """Look for mailboxes and list those that may have changed; return whether anything was listed.

        Args:
            force: list all.

        Raises:
            TemporaryError: the one Maildir cannot be listed. In a set of many, the messages of a
                mailbox that cannot be listed stay as they were.
        """
        found, listed = {place.name: place for place in self._tree.find()} or self._lone(), False
        for name in self._held.keys() - found.keys():
            self._held.pop(name).maildir.close()
            listed = True
        self.troubles = {}
        for name, place in found.items():
            try:
                listed |= self._hold(place).refresh(force)
            except MaildirSafeError as error:
                if name == INBOX:
                    raise
                self.troubles[name] = str(error)
        listed |= self.names != [*found]
        self._found = found
        if len(self._held) > _KEPT_OPEN:  # each would keep four descriptors
            for held in self._held.values():
                held.maildir.close()
        return listed

    def _lone(self) -> dict[str, Place]:
        """The one Maildir, so that an error tells why it was not found; nothing in a set of many."""
        return {} if self._tree.many else {INBOX: Place(INBOX, self.path)}

    def _hold(self, place: Place) -> _Held:
        held = self._held.get(place.name)
        if held is None:
            main = self._open(place.path)
            maildir = main.folder(place.folder, create=False) if place.folder else main
            held = self._held[place.name] = _Held(place, maildir)
            if held.mark:
                self._marks[held.mark] = place.name
        return held

    def messages(self) -> list[Placed]:
        """The messages of all mailboxes, as listed last."""
        return [message for held in self._held.values() for message in held.messages.values()]

    def open(self, key: str) -> BinaryIO:
        """See `Maildir.open`; the key is a message's id here, as in the methods below."""
        maildir, own = self._place(key)
        return maildir.open(own)

    def set_flags(self, key: str, flags: str) -> Message:
        """See `Maildir.set_flags`; the result has the key of the message in its Maildir."""
        maildir, own = self._place(key)
        return maildir.set_flags(own, flags)

    def discard(self, key: str) -> bool:
        """See `Maildir.discard`."""
        maildir, own = self._place(key)
        return maildir.discard(own)

    def size_of(self, message: Placed) -> int:
        """See `Maildir.size_of`; 0 if its mailbox has gone."""
        held = self._held.get(message.mailbox)
        return held.maildir.size_of(message) if held else 0

    def stamp_of(self, message: Placed) -> tuple[int, int]:
        """See `Maildir.stamp_of`; zeros if its mailbox has gone."""
        held = self._held.get(message.mailbox)
        return held.maildir.stamp_of(message) if held else (0, 0)

    def deliver(self, message: bytes, sender: str, recipients: list[str]) -> str:
        """Deliver a message into the mailbox of each recipient, and return its id in the first.

        Raises:
            ValueError: a recipient has no mailbox here, or there is no recipient and no mailbox for all.
            TemporaryError, UnknownOutcome: not stored for all recipients.
        """
        if self._mailboxes is None:
            first = recipients[0] if recipients else None
            return self._held[INBOX].maildir.deliver(message, sender=sender, recipient=first).key
        places: dict[str, str] = {}
        for address in recipients:
            try:
                places.setdefault(self._mailboxes.find(address), address)
            except (Refused, NoSuchMailbox):
                raise ValueError(f"{address}: no such mailbox here") from None
        if not places:
            raise ValueError("To, Cc, Bcc: a recipient is needed, whose mailbox takes the message")
        keys = [
            (path, self._mailboxes.open(path).deliver(message, sender=sender, recipient=address).key)
            for path, address in places.items()
        ]
        path, key = keys[0]
        return key + mark(self._tree.name_of(path))

    def _place(self, key: str) -> tuple[Maildir, str]:
        """The Maildir of a message, and its key there. Raises KeyError: its mailbox has gone."""
        own, tilde, digits = key.rpartition("~")
        name = self._marks.get(tilde + digits)
        if name is None:
            own, name = key, INBOX
        return self._held[name].maildir, own
