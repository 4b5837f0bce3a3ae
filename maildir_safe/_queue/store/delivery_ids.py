"""Ids that callers give their puts, so that a retry of the same put is recognised.

    ids/<part>/<key>.<item>.<time>.begun   created before the item is put; names the item
    ids/<part>/<key>.<time>.done           created after the put, or before the item leaves the queue; holds
                                           its id

The key is a hash of the id. An item that was put with an id has the key in its own id. So after a crash
between "begun" and "done" the queue itself shows whether the item was put.

Each try writes its mark first and lists the marks then. So of two concurrent tries one at least sees the
other's mark. It stops the other (`other_tries`) before it looks for the item.
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
"""Seconds for which an id is remembered: longer than any client retries."""

_LONGEST = 200
_MOST_MARKS = 60  # of one id in one second: each repeated put leaves one


def key_of(delivery_id: str) -> str:
    """The key of an id.

    Raises:
        ValueError: the id is empty or white space, so that unrelated messages would share it.
    """
    if not delivery_id.strip():
        raise ValueError("a delivery id must not be empty, or every message without one is the same")
    return hashlib.sha256(delivery_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class DeliveryIds:
    """The ids of a spool. Of concurrent attempts with one id, one at most puts an item.

    Args:
        fs: the file system's calls.
        layout: the spool.
    """

    def __init__(self, fs: FileSystem, layout: Layout) -> None:
        self._fs = fs
        self._ids = layout.hashed["ids"]

    def begin(
        self, key: str, ident: str, stop: Callable[[str], object], search: Callable[[str], str | None]
    ) -> str | None:
        """Record, durably, that a put is about to begin, and stop all other attempts.

        Args:
            ident: the id of the item to be put; its file in tmp/ has that name.
            stop: returns once the attempt to put the item with this id has succeeded, or never will.
            search: finds an item by the key in its id and makes it durable; returns None if there is none.

        Returns:
            The item's id if an earlier attempt has put it; then the caller must not put it again.

        Raises:
            TemporaryError: the marks cannot be read or written, or another attempt cannot be stopped.
        """
        try:
            part = self._ids.make(key)
            begun = self._write(part, f"{key}.{ident}", "begun", "")
            names = self._names(part) - {begun}
            if before := self._done(part, key, names):
                remove_quietly(self._fs, part.dir_fd, begun)
                return before
            others = [name for name in names if name.startswith(f"{key}.")]
            for other in filter(None, map(_item_of, others)):
                stop(other)
            if others:
                if (found := search(key)) is not None:
                    self._write(part, key, "done", found)
                    return found
                if before := self._done(part, key, self._names(part)):
                    return before  # it left the queue during the search
            self._forget_old(part, names, begun)
        except OSError as error:
            raise storage_error(f"remember a delivery id in {key}", error) from error
        return None

    def finish(self, key: str, ident: str, sync: Callable[[], object] | None = None) -> None:
        """Record that the put is done. Errors are ignored: while the item exists, its id shows the same.

        Args:
            sync: makes the item durable, if that is not known; called if the mark is missing.
        """
        try:
            part = self._ids.make(key)
            if not self._done(part, key, {*self._fs.listdir(part.dir_fd)}):
                if sync is not None:
                    sync()  # whoever reads the mark relies on the item
                self._write(part, key, "done", ident)
        except OSError:
            pass

    def _names(self, part: HashPart) -> set[str]:
        return {*self._fs.listdir(part.dir_fd)} | {*self._fs.listdir(part.dir_fd)}  # one may omit a few

    def _done(self, part: HashPart, key: str, names: set[str]) -> str:
        """The id of the item that a mark says was put with this key; ``""`` if no mark says so."""
        done = (name for name in names if name.startswith(f"{key}.") and name.endswith(".done"))
        return next(filter(None, (self._read(part, name) for name in done)), "")

    def _write(self, part: HashPart, stem: str, what: str, ident: str) -> str:
        """Create a new mark, durably, and return its name. Raises OSError."""
        fs = self._fs
        name, fd = self._create(part, stem, what)
        try:
            write_all(fs, fd, ident.encode())
            fsync_if_supported(fs, fd)
        finally:
            fs.close(fd)
        part.sync.sync()
        return name

    def _create(self, part: HashPart, stem: str, what: str) -> tuple[str, int]:
        """Create a mark that did not exist before, and return its name and descriptor.

        A mark of the same second may be left by an attempt that ended before its fsync. A second fsync
        of that file could succeed without writing anything, so the new mark takes a later second.
        """
        now = self._fs.time_ns() // 10**9
        for second in range(now, now + _MOST_MARKS):
            name = f"{stem}.{second}.{what}"
            try:
                return name, self._fs.create(name, part.dir_fd)
            except FileExistsError:
                continue
        raise FileExistsError(errno.EEXIST, f"{_MOST_MARKS} marks of one second", name)

    def _read(self, part: HashPart, name: str) -> str:
        """The item's id; ``""`` if a crash came before it was written."""
        fd = self._fs.open(name, part.dir_fd)
        try:
            return self._fs.read(fd, _LONGEST).decode("ascii", "replace")
        finally:
            close_quietly(self._fs, fd)

    def _forget_old(self, part: HashPart, names: set[str], new: str) -> None:
        """Remove marks that are old by this host's clock, and by the server's: the time of the new mark."""
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
    """The key that an item was put with; ``""`` if there is none."""
    _, found, rest = item.id.partition("D")
    key = rest[:16]
    return key if found and item.id.partition(".M")[2].partition("D")[0].isdecimal() else ""


def _item_of(mark: str) -> str:
    """The id of the item in the name of a "begun" mark; ``""`` if it has none.

    Earlier versions wrote none, and nobody relies on a forged one: it stops a put, at most.
    """
    key, _, rest = mark.partition(".")
    ident = rest.removesuffix(".begun").rpartition(".")[0]
    return ident if mark.endswith(".begun") and f"D{key}" in ident else ""


def _time_of(name: str) -> float:
    when = name.rpartition(".")[0].rpartition(".")[2]
    return float(when) if when.isascii() and when.isdecimal() and len(when) < 12 else float("inf")
