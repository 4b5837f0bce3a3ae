"""Notes: what couriers answered, for `queue why` and for bounces. A JSON object a file.

notes/<part>/<id>.<gen> is written before the rename that it explains, by whoever holds the item at that
`gen`; so nobody else writes the same. Without its notes an item is handled all the same.
"""

from __future__ import annotations

import json

from maildir_safe._handoff.rename import close_quietly, remove_quietly
from maildir_safe._handoff.small_files import write_all
from maildir_safe.errors import storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.layout import Layout

_LONGEST = 1 << 20


class DeliveryLog:
    """The notes of a spool's items.

    Args:
        fs: the file system's calls.
        layout: the spool.
    """

    def __init__(self, fs: FileSystem, layout: Layout) -> None:
        self._fs = fs
        self._shelf = layout.hashed["notes"]

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
        fs, part = self._fs, self._shelf.make(item.id)
        name, dir_fd = _name(item, item.gen), part.dir_fd
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

    def read(self, item: Item) -> list[dict[str, Any]]:
        """The notes of an item, oldest first; those that cannot be read are left out."""
        notes: list[dict[str, Any]] = []
        try:
            part = self._shelf.find(item.id)
        except OSError:
            return notes
        for gen in range(item.gen + 1):
            try:
                fd = self._fs.open(_name(item, gen), part.dir_fd)
            except OSError:
                continue
            try:
                note = json.loads(self._fs.read(fd, _LONGEST))
            except (OSError, ValueError):
                continue
            finally:
                close_quietly(self._fs, fd)
            if isinstance(note, dict):
                notes.append(note)
        return notes

    def remove(self, item: Item) -> None:
        """Forget the notes of an item that is done. Most items were never in trouble and have none."""
        if not item.gen:
            return
        try:
            part = self._shelf.find(item.id)
        except OSError:
            return
        for gen in range(item.gen + 1):
            remove_quietly(self._fs, part.dir_fd, _name(item, gen))


def _name(item: Item, gen: int) -> str:
    return f"{item.id}.{gen}"
