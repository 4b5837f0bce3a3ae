"""Ids that callers give their puts, so that a second try of the same put is recognised.

    ids/<part>/<key>.<time>.begun      before the item is put
    ids/<part>/<key>.<time>.done       after it; holds the item's id. Also made when the item leaves the queue

The key is a hash of the id. An item that was put with one has its key in its own id, so that after a crash
between "begun" and "done" the queue itself tells whether it was put.
"""

from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING

from maildir_safe._handoff.rename import close_quietly, remove_quietly
from maildir_safe._handoff.small_files import fsync_if_supported, write_all
from maildir_safe.errors import storage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.hashed_directory import HashPart
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout

KEPT_FOR = 7 * 86400
"""Seconds for which an id is remembered: longer than anybody repeats a put."""

_LONGEST = 200
_MOST_MARKS = 60  # of one id in one second: each repeated put leaves one


def key_of(delivery_id: str) -> str:
    """The key of an id.

    Raises:
        ValueError: it is empty or white space: then all that have it would be one.
    """
    if not delivery_id.strip():
        raise ValueError("a delivery id must not be empty, or every message without one is the same")
    return hashlib.sha256(delivery_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class DeliveryIds:
    """The ids of a spool. Two tries with one id at the same time are not told apart.

    Args:
        fs: the file system's calls.
        layout: the spool.
    """

    def __init__(self, fs: FileSystem, layout: Layout) -> None:
        self._fs = fs
        self._ids = layout.hashed["ids"]

    def begin(self, key: str, search: Callable[[str], str | None]) -> str | None:
        """Remember that a put is about to be made.

        Args:
            search: finds an item by the key in its id and makes it durable; None: there is none.

        Returns:
            The item's id if an earlier try has put it; then nothing is to be done.

        Raises:
            TemporaryError: nobody can tell, or it cannot be remembered.
        """
        try:
            part = self._ids.make(key)
            names = {*self._fs.listdir(part.dir_fd)} | {*self._fs.listdir(part.dir_fd)}  # one may omit some
            mine = [name for name in names if name.startswith(f"{key}.")]
            for name in mine:
                if name.endswith(".done") and (before := self._read(part, name)):
                    return before
            if mine and (found := search(key)) is not None:
                self._write(part, key, "done", found)
                return found
            begun = self._write(part, key, "begun", "")
            self._forget_old(part, names, begun)
        except OSError as error:
            raise storage_error(f"remember a delivery id in {key}", error) from error
        return None

    def finish(self, key: str, ident: str) -> None:
        """Remember that the put was made; if that fails, its item tells it while it is there."""
        try:
            part = self._ids.make(key)
            names = self._fs.listdir(part.dir_fd)
            done = [name for name in names if name.startswith(f"{key}.") and name.endswith(".done")]
            if not any(self._read(part, name) for name in done):
                self._write(part, key, "done", ident)
        except OSError:
            pass

    def _write(self, part: HashPart, key: str, what: str, ident: str) -> str:
        """Create a new mark, durably, and return its name. Raises OSError."""
        fs = self._fs
        name, fd = self._create(part, key, what)
        try:
            write_all(fs, fd, ident.encode())
            fsync_if_supported(fs, fd)
        finally:
            fs.close(fd)
        part.sync.sync()
        return name

    def _create(self, part: HashPart, key: str, what: str) -> tuple[str, int]:
        """Create a mark that did not exist before, and return its name and descriptor.

        A mark of the same second may be left by an attempt that ended before its fsync. A second fsync
        of that file could succeed without writing anything, so the new mark takes a later second.
        """
        now = self._fs.time_ns() // 10**9
        for second in range(now, now + _MOST_MARKS):
            name = f"{key}.{second}.{what}"
            try:
                return name, self._fs.create(name, part.dir_fd)
            except FileExistsError:
                continue
        raise FileExistsError(errno.EEXIST, f"{_MOST_MARKS} marks of one second", name)

    def _read(self, part: HashPart, name: str) -> str:
        """The item's id, or ``""``: it was not written before a crash."""
        fd = self._fs.open(name, part.dir_fd)
        try:
            return self._fs.read(fd, _LONGEST).decode("ascii", "replace")
        finally:
            close_quietly(self._fs, fd)

    def _forget_old(self, part: HashPart, names: set[str], new: str) -> None:
        """Old by this host's clock, and by the server's, as the file that was made just now tells it."""
        limit = self._fs.time_ns() // 10**9 - KEPT_FOR
        old = [name for name in names if _time_of(name) < limit]
        if not old:
            return
        now = self._fs.stat(new, part.dir_fd).st_mtime
        for name in old:
            try:
                if now - self._fs.stat(name, part.dir_fd).st_mtime > KEPT_FOR:
                    remove_quietly(self._fs, part.dir_fd, name)
            except OSError:
                pass


def key_in(item: Item) -> str:
    """The key that an item was put with; ``""`` if with none."""
    _, found, rest = item.id.partition("D")
    key = rest[:16]
    return key if found and item.id.partition(".M")[2].partition("D")[0].isdecimal() else ""


def _time_of(name: str) -> float:
    when = name.rpartition(".")[0].rpartition(".")[2]
    return float(when) if when.isascii() and when.isdecimal() and len(when) < 12 else float("inf")
