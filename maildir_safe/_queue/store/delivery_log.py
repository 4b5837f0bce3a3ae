"""The delivery log: couriers' statuses, for `queue why` and for bounces. Each file has one JSON object.

notes/<part>/<id>.<gen> is written before the rename that it explains, by the worker that holds the item at
that `gen`; no other process writes the same file. An item is also handled without its notes. Any user who
may write into the spool may have forged a note, so notes are not trusted: what is too large, too deep or of
the wrong shape is ignored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from maildir_safe._delivery.status import RecipientStatus, one_line
from maildir_safe._handoff.rename import close_quietly, remove_quietly
from maildir_safe._handoff.small_files import write_all
from maildir_safe._queue.store.delivery_ids import DeliveryIds, key_in
from maildir_safe.errors import storage_error

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._handoff.group_commit import DirectorySync
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout

_LONGEST = 1 << 20
_MOST_NOTES = 500  # an item that is retried for five days has forty
_LAST_SECOND = 253402300799  # of the year 9999: the last one that `datetime` can represent


class Note(TypedDict, total=False):
    """The record of one attempt; every key except `at` may be missing.

    Attributes:
        at: when it was written, in seconds since 1970 by the writer's clock.
        text: why the item is in its state.
        recipients: per recipient the code, the text, and an error text for operators only.
    """

    at: float
    text: str
    recipients: dict[str, tuple[int, str, str]]


class DeliveryLog:
    """The notes of a spool's items.

    Args:
        fs: the file system's calls.
        layout: the spool.

    Attributes:
        ids: the delivery ids of puts, which `finish` completes.
    """

    def __init__(self, fs: FileSystem, layout: Layout) -> None:
        self._fs = fs
        self._notes = layout.hashed["notes"]
        self.ids = DeliveryIds(fs, layout)

    def write(self, item: Item, note: dict[str, Any], durable: bool) -> None:
        """Write a note about this `gen` of an item.

        Args:
            durable: the note must survive a crash; else it is best effort, and errors are ignored.

        Raises:
            TemporaryError: a durable note could not be written.
        """
        try:
            self._write(item, json.dumps(note).encode(), durable)
        except OSError as error:
            if durable:
                raise storage_error(f"note for {item.id}", error) from error

    def _write(self, item: Item, data: bytes, durable: bool) -> None:
        fs, part = self._fs, self._notes.make(item.id)
        name, dir_fd = f"{item.id}.{item.gen}", part.dir_fd
        try:
            fd = fs.create(name, dir_fd)
        except FileExistsError:  # left by a crash that undid the item's rename
            fs.unlink(name, dir_fd=dir_fd)
            fd = fs.create(name, dir_fd)
        try:
            write_all(fs, fd, data)
            if durable:
                fs.fsync(fd)
        finally:
            fs.close(fd)
        if durable:
            part.sync.sync()

    def read(self, item: Item) -> list[Note]:
        """The notes of an item, oldest first; unreadable ones are left out."""
        try:
            part = self._notes.find(item.id)
            names = self._names(item, part.dir_fd)
        except OSError:
            return []
        found = (self._read(name, part.dir_fd) for name in names[-_MOST_NOTES:])
        return [note for note in found if note is not None]

    def _read(self, name: str, dir_fd: int) -> Note | None:
        try:
            fd = self._fs.open(name, dir_fd)
        except OSError:
            return None
        data = b""
        try:
            while len(data) <= _LONGEST and (more := self._fs.read(fd, _LONGEST)):
                data += more
            return _checked(json.loads(data)) if len(data) <= _LONGEST else None
        except (OSError, ValueError, RecursionError):
            return None
        finally:
            close_quietly(self._fs, fd)

    def before_removal(self, item: Item, directory: DirectorySync) -> None:
        """Mark the delivery id of an item as done, before the item leaves the queue.

        Otherwise another try of its put, in between, would find neither the item nor the mark.

        Args:
            directory: where the item is; synced, so that the item is durable, if the mark is missing.
        """
        if "D" in item.id and (key := key_in(item)):
            self.ids.finish(key, item.id, directory.sync)

    def remove(self, item: Item) -> None:
        """Remove the notes of an item."""
        try:
            part = self._notes.find(item.id)
            names = self._names(item, part.dir_fd)
        except OSError:
            return
        for name in names:
            remove_quietly(self._fs, part.dir_fd, name)

    def _names(self, item: Item, dir_fd: int) -> list[str]:
        """The names of an item's notes, oldest first; also those with a later `gen` than the item's."""
        stem = f"{item.id}."
        gens = [name[len(stem) :] for name in self._fs.listdir(dir_fd) if name.startswith(stem)]
        good = sorted({int(gen) for gen in gens if gen.isascii() and gen.isdecimal() and len(gen) < 10})
        return [f"{stem}{gen}" for gen in good]


def statuses(note: Note) -> dict[str, RecipientStatus]:
    """The recipients' statuses in a note."""
    return {who: RecipientStatus(*said) for who, said in note.get("recipients", {}).items()}


def _checked(found: object) -> Note | None:
    """A note reduced to the fields of its type; None if it is not a note."""
    if not isinstance(found, dict):
        return None
    at: Any = found.get("at")
    note: Note = {"at": float(at) if type(at) in (int, float) and 0 <= at <= _LAST_SECOND else 0.0}
    if isinstance(text := found.get("text"), str):
        note["text"] = one_line(text)
    if isinstance(recipients := found.get("recipients"), dict):
        said = {who: _said(about) for who, about in recipients.items()}
        note["recipients"] = {who: about for who, about in said.items() if about is not None}
    return note


def _said(about: object) -> tuple[int, str, str] | None:
    if not (isinstance(about, list) and 2 <= len(about) <= 3):
        return None
    code, text, error = (*about, "")[:3]
    if type(code) is not int or not 200 <= code <= 599 or not isinstance(text, str):
        return None
    return code, one_line(text), one_line(error) if isinstance(error, str) else ""
