"""The Maildirs whose messages the page shows: one with its folders, or those of many addresses."""

from __future__ import annotations

import contextlib
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
from maildir_safe._web.placed import Changes, Part, Placed, mark
from maildir_safe.errors import MaildirSafeError

_COARSEST = 2.5  # seconds; vfat keeps times in steps of 2
_KEPT_OPEN = 4
TRASH = "Trash"
"""The folder of messages that the page has deleted. It is not shown."""


class _Held:
    """One Maildir of the set, and the messages that it had when it was last listed."""

    def __init__(self, place: Place, maildir: Maildir) -> None:
        self.place, self.maildir = place, maildir
        self.part = Part(place.name, {}, {})
        self._stamps: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._stable: set[str] = set()

    def refresh(self, force: bool, changes: Changes) -> bool:
        """List what may have changed; return whether anything was listed. Raises TemporaryError.

        Unchanged times of a directory show that it has not, once they have been unchanged for longer
        than the coarsest timestamp resolution of any file system.
        """
        now = time.monotonic()
        for name, stamp in zip(("new", "cur"), self.maildir.stamp(), strict=True):
            if stamp != self._stamps.get(name):
                self._stamps[name], self._since[name] = stamp, now
                self._stable.discard(name)
        if len(self._stable) == 2 and not force:
            return False
        listing = self.maildir.messages(() if force else self._stable)
        before, self.part = self.part, Part(self.place.name, listing.new, listing.cur, self.part)
        changes.compare(before, self.part)
        self._stable = {name for name, since in self._since.items() if now - since > _COARSEST}
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
        self._changes: dict[str, Changes] = {}
        self._trash_of: dict[str, str] = {}

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
        places, listed = self._tree.find(), False
        self._trash_of = {place.name: place.path for place in places if place.folder == TRASH}
        found = {place.name: place for place in places if place.folder != TRASH} or self._lone()
        for name in self._held.keys() - found.keys():
            held = self._held.pop(name)
            held.maildir.close()
            self._changes.setdefault(name, Changes()).compare(held.part, Part(name, {}, {}))
            listed = True
        self.troubles = {}
        for name, place in found.items():
            try:
                listed |= self._hold(place).refresh(force, self._changes.setdefault(name, Changes()))
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
            if held.part.mark:
                self._marks[held.part.mark] = place.name
        return held

    def take_changes(self) -> dict[str, Changes]:
        """What has changed since the last call, by mailbox; those without changes are left out."""
        taken, self._changes = self._changes, {}
        return {name: changes for name, changes in taken.items() if changes}

    def part(self, name: str) -> Part:
        """The messages of a mailbox by the last listing; none if it could not be listed so far."""
        held = self._held.get(name)
        return held.part if held else Part(name, {}, {})

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

    def trash(self, message: Placed) -> None:
        """Move a message into the folder Trash of its Maildir, with the flag T.

        Raises:
            KeyError: it is gone. TemporaryError, UnknownOutcome: as `Maildir.move`.
        """
        held = self._held[message.mailbox]
        trash = self._main(held.place.path).folder(TRASH)
        held.maildir.move(message.own, trash)
        with contextlib.suppress(MaildirSafeError):  # without it, the message stays there longer
            trash.set_flags(message.own, message.flags + "T")

    def restore(self, message: Placed) -> None:
        """Undo `trash`. Raises the same."""
        held = self._held[message.mailbox]
        trash = self._main(held.place.path).folder(TRASH)
        trash.set_flags(message.own, message.flags)
        trash.move(message.own, held.maildir)

    def trashes(self) -> list[Maildir]:
        """The folders Trash that were found last."""
        found = []
        for path in {*self._trash_of.values()}:
            with contextlib.suppress(KeyError, MaildirSafeError):
                found.append(self._main(path).folder(TRASH, create=False))
        return found

    def _main(self, path: str) -> Maildir:
        """The Maildir at a path that was found. Raises KeyError: it has gone."""
        for held in list(self._held.values()):
            if held.place.path == path and not held.place.folder:
                return held.maildir
        raise KeyError(path)

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
