"""The delivery log: what couriers answered, for `queue why` and for bounces. A JSON object a file.

notes/<part>/<id>.<gen> is written before the rename that it explains, by whoever holds the item at that
`gen`; so nobody else writes the same. Without its notes an item is handled all the same. Anybody who may
write into the spool may have written them, so that nothing in them is believed: what is too large, too
deep or of the wrong shape is left out.
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
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout

_LONGEST = 1 << 20
_MOST_NOTES = 500  # an item that is tried for five days has forty
_LAST_SECOND = 253402300799  # of the year 9999: what calendars can say


class Note(TypedDict, total=False):
    """What is known of one try; every key but `at` may be missing.

    Attributes:
        at: when it was written, in seconds since 1970 by the writer's clock.
        text: why the item is where it is.
        recipients: for each recipient the code, the text, and what went wrong in words for operators alone.
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
        ids: those that items were put with.
    """

    def __init__(self, fs: FileSystem, layout: Layout) -> None:
        self._fs = fs
        self._notes = layout.hashed["notes"]
        self.ids = DeliveryIds(fs, layout)

    def write(self, item: Item, note: dict[str, Any], durable: bool) -> None:
        """Keep a note about this `gen` of an item.

        Args:
            durable: it must survive a crash, or the error is raised; else it is best effort.

        Raises:
            TemporaryError: a durable note could not be kept.
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
        except FileExistsError:  # begun before a crash, which took the item's rename back
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
        """The notes of an item, oldest first; those that cannot be read are left out."""
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

    def finish(self, item: Item) -> None:
        """An item has left the queue: remember its delivery id, if it has one, and forget its notes."""
        if "D" in item.id and (key := key_in(item)):
            self.ids.finish(key, item.id)
        if item.gen:  # most items were never in trouble and have no notes
            self.remove(item)

    def remove(self, item: Item) -> None:
        """Forget the notes of an item."""
        try:
            part = self._notes.find(item.id)
            names = self._names(item, part.dir_fd)
        except OSError:
            return
        for name in names:
            remove_quietly(self._fs, part.dir_fd, name)

    def _names(self, item: Item, dir_fd: int) -> list[str]:
        """The notes that are there, oldest first; how large `gen` is does not matter."""
        stem = f"{item.id}."
        gens = [name[len(stem) :] for name in self._fs.listdir(dir_fd) if name.startswith(stem)]
        good = sorted({int(gen) for gen in gens if gen.isascii() and gen.isdecimal() and len(gen) < 10})
        return [f"{stem}{gen}" for gen in good]


def statuses(note: Note) -> dict[str, RecipientStatus]:
    """What a note says of recipients."""
    return {who: RecipientStatus(*said) for who, said in note.get("recipients", {}).items()}


def _checked(found: object) -> Note | None:
    """A note with nothing in it but what its type says."""
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
