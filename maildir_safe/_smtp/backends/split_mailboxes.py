"""Test mode with a Maildir for each address: made when mail for it first arrives, bounded in number."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.group_commit import DirectorySync
from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.small_files import make_directory
from maildir_safe._mailbox_tree import MOST, MailboxTree
from maildir_safe._mailboxes import Mailboxes, open_as_owner
from maildir_safe._smtp.protocol.replies import TOO_MANY_MAILBOXES, Refused
from maildir_safe.errors import NotAMaildir

if TYPE_CHECKING:
    from maildir_safe import Maildir
    from maildir_safe._fs import FileSystem
    from maildir_safe._smtp.backends.routing import SplitMap

_COUNT_AGAIN = 50  # Maildirs made, after which those of other processes are counted too

FULL_FOR = 1.0
"""Seconds for which a count that found no room is believed: counting a thousand takes a tenth of a second."""


class SplitMailboxes(Mailboxes):
    """The Maildirs below one directory. Thread-safe.

    Args:
        routing: maps an address to its Maildir.
        fs: the file system's calls.
        kept_open: most Maildirs that are kept open.
        most: most Maildirs that are made.
        staging: where messages are written first, as for `Maildir`.
    """

    def __init__(
        self,
        routing: SplitMap,
        fs: FileSystem | None = None,
        *,
        kept_open: int,
        most: int = MOST,
        staging: str | None = None,
    ) -> None:
        super().__init__(routing.candidates, self._made, fs=fs, kept_open=kept_open)
        self._routing, self._calls, self._most_made = routing, fs or OsFileSystem(), most
        self._staging = staging
        self._making = threading.Lock()
        self._durable: set[str] = set()
        self._count, self._left = 0, 0
        self._full_until = float("-inf")

    def find(self, address: str) -> str:
        """The path of the address's Maildir, which need not exist yet.

        Raises:
            Refused: no mailbox can have that name; or it does not exist, and no more may be made (452).
        """
        (path,) = self._routing.candidates(address)
        if not self._exists(path):
            self.forget(path)  # somebody has removed it
            with self._making:
                self._check_number()
        return path

    def known(self, address: str) -> str | None:  # noqa: ARG002
        """None: each look-up sees whether somebody has removed the Maildir meanwhile."""
        return None

    def _exists(self, path: str) -> bool:
        try:
            close_quietly(self._calls, self._calls.open_dir(path))
        except OSError:
            return False
        return True

    def _made(self, path: str) -> Maildir:
        """Open a Maildir, or make it. Raises NotAMaildir; Refused: no more may be made."""
        exists = self._exists(path)
        if exists and path in self._durable:
            return open_as_owner(path, self._calls, staging=self._staging)
        with self._making:
            if not exists:
                self._check_number()
                self._count, self._left = self._count + 1, self._left - 1
            self._make_above(path)  # again if it exists: another process may not have synced it yet
            maildir = open_as_owner(path, self._calls, create=True, staging=self._staging)
            if len(self._durable) > 2 * self._most_made:
                self._durable.clear()
            self._durable.add(path)
            return maildir

    def _check_number(self) -> None:
        full = self._count >= self._most_made
        if full and self._calls.monotonic() < self._full_until:
            raise Refused(TOO_MANY_MAILBOXES)
        if full or self._left <= 0:
            tree = MailboxTree(self._routing.root, self._routing.below, self._most_made, self._calls)
            self._count, self._left = len([p for p in tree.find() if not p.folder]), _COUNT_AGAIN
            if not tree.complete:
                self._count = self._most_made
        if self._count >= self._most_made:
            self._full_until = self._calls.monotonic() + FULL_FOR
            raise Refused(TOO_MANY_MAILBOXES)

    def _make_above(self, path: str) -> None:
        """Make the directories between the root, which must exist, and the Maildir. Durable."""
        here = self._routing.root
        for name in path.removeprefix(f"{here.rstrip('/')}/").split("/")[:-1]:
            try:
                above = self._calls.open_dir(here)
                try:
                    close_quietly(self._calls, make_directory(self._calls, name, above))
                    DirectorySync(self._calls, above).sync()
                finally:
                    close_quietly(self._calls, above)
            except OSError as error:
                raise NotAMaildir(f"{here}/{name}: cannot be made: {error.strerror}") from error
            here = f"{here.rstrip('/')}/{name}"
