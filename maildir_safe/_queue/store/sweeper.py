"""Sweeping: returning a fenced worker's items to pending/.

Several sweepers may do this concurrently. After a crash at any point it is done again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from maildir_safe._handoff.listing import stable_listing
from maildir_safe._handoff.rename import DONE, close_quietly
from maildir_safe._queue.store.item_name import parse
from maildir_safe.errors import TemporaryError, UnknownOutcome, storage_error

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.store.layout import Layout
    from maildir_safe._queue.store.spool import Spool
    from maildir_safe._queue.store.writer import BucketTarget

_TRIES = 4


class Sweeper:
    """Sweeps fenced workers. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool's directories.
        spool: moves the items.
    """

    def __init__(self, fs: FileSystem, layout: Layout, spool: Spool) -> None:
        self._fs = fs
        self._layout = layout
        self._spool = spool

    def sweep(self, worker: str) -> int:
        """Return all items of a fenced worker to pending/, and their number to the caller.

        Raises:
            OSError, TemporaryError: not finished. The next call goes on.
        """
        claimed = self._layout.fd["claimed"]
        count = 0
        try:
            dir_fd = self._fs.open_dir(worker, claimed)
        except FileNotFoundError:
            pass  # another sweeper removed it, unless the listing below still shows it
        else:
            try:
                count = self._empty(worker, dir_fd)
            finally:
                close_quietly(self._fs, dir_fd)
        if worker in self._fs.listdir(claimed):
            raise TemporaryError(f"claimed/{worker} cannot be removed yet")
        try:
            self._layout.sync["claimed"].sync()  # durable before the marker in fenced/ is removed
        except OSError as error:
            raise UnknownOutcome(str(storage_error("fsync claimed/", error))) from error
        try:
            self._fs.unlink(worker, dir_fd=self._layout.fd["fenced"])
        except FileNotFoundError:
            pass
        return count

    def _empty(self, worker: str, dir_fd: int) -> int:
        """Return items until the directory can be removed: a listing may omit items, but rmdir then fails."""
        count = 0
        targets: set[BucketTarget] = set()
        for _ in range(_TRIES):
            for name in stable_listing(self._fs, dir_fd):
                item = parse(name)
                if name.startswith("."):
                    continue  # .nfs…: an item that was removed while a process has it open
                if item is None:
                    self._spool.quarantine(dir_fd, name)
                    continue
                outcome, tried = self._spool.refile(None, dir_fd, item, item.returned())
                count += outcome.kind == DONE
                targets.update(tried)
            for target in targets:
                target.sync["pending"].sync()
            try:
                self._fs.rmdir(worker, self._layout.fd["claimed"])
                break
            except OSError as error:
                if error.errno == errno.ENOENT:
                    break
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        return count
