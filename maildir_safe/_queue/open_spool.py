"""A spool that is open: its directories, its writer, and what only readers need, made when first used.

A process such as `sendmail` puts one message and ends. It does without leases and listings.
"""

from __future__ import annotations

import os
from _thread import allocate_lock as Lock

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._names import host_token
from maildir_safe._queue.store.item import ItemIds
from maildir_safe._queue.store.layout import Layout
from maildir_safe._queue.store.writer import SpoolWriter
from maildir_safe.errors import TemporaryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.consumer import Consumer
    from maildir_safe._queue.store.delivery_log import DeliveryLog
    from maildir_safe._queue.store.spool import Spool


def owners_calls(path: str) -> FileSystem:
    """The system's file calls; root makes them with the rights of the spool's owner.

    Raises:
        TemporaryError: another user could redirect root's path.
    """
    if os.geteuid() != 0:
        return OsFileSystem()
    from maildir_safe._fs.owner import as_owner

    try:
        return as_owner(OsFileSystem(), path)
    except OSError as error:
        raise TemporaryError(f"{path}: {error}") from error


class OpenSpool:
    """The objects that belong to the directories that are open now. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the spool.
        create, lease, shared, require, resolve_timeout: see `maildir_safe._queue.queue.Queue`.
        before_registering: called before a lease is registered.

    Attributes:
        layout: the directories. writer: puts items.
        lease_seconds: the length of a lease.

    Raises:
        TemporaryError, ValueError: as `maildir_safe._queue.queue.Queue`.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        create: bool,
        *,
        lease: int | None,
        shared: bool,
        require: str | None,
        resolve_timeout: float,
        before_registering: Callable[[], None],
    ) -> None:
        self._fs = fs
        self._shared = shared
        self._resolve_timeout = resolve_timeout
        self._before_registering = before_registering
        self._making = Lock()
        self._host = host_token(os.uname().nodename)
        self._spool: Spool | None = None
        self._delivery_log: DeliveryLog | None = None
        self._consumer: Consumer | None = None
        self.layout = Layout(fs, path, create)
        rules = self.layout.rules
        self.lease_seconds = rules.shared_lease(lease) if shared else lease or rules.default_lease
        shard = f"{self._host}-{fs.random(4).hex()}"
        self.writer = SpoolWriter(fs, self.layout, shard, ItemIds(fs, self._host), require, resolve_timeout)

    @property
    def spool(self) -> Spool:
        """Moves items."""
        if self._spool is None:
            from maildir_safe._queue.store.spool import Spool

            with self._making:
                self._spool = self._spool or Spool(self._fs, self.layout, self.writer, self._resolve_timeout)
        return self._spool

    @property
    def delivery_log(self) -> DeliveryLog:
        """The items' notes, and the delivery ids."""
        if self._delivery_log is None:
            from maildir_safe._queue.store.delivery_log import DeliveryLog

            with self._making:
                self._delivery_log = self._delivery_log or DeliveryLog(self._fs, self.layout)
        return self._delivery_log

    @property
    def consumer(self) -> Consumer:
        """Claims items."""
        if self._consumer is None:
            from maildir_safe._queue.consumer import Consumer

            spool, delivery_log = self.spool, self.delivery_log
            with self._making:
                self._consumer = self._consumer or Consumer(
                    self._fs,
                    self.layout,
                    spool,
                    self.writer,
                    delivery_log,
                    host=self._host,
                    alone=not self._shared,
                    lease_seconds=self.lease_seconds,
                    resolve_timeout=self._resolve_timeout,
                    before_registering=self._before_registering,
                )
        return self._consumer

    def stop_other_try(self, ident: str) -> None:
        """See `other_tries.stop_other_try`; its file has the item's id for a name. Raises OSError."""
        from maildir_safe._handoff.rename import Handoff
        from maildir_safe._queue.store.other_tries import stop_other_try

        stop_other_try(self._fs, Handoff(self._fs, self._resolve_timeout), self.layout.fd["tmp"], ident)

    def abandon(self) -> None:
        """Let the items be claimed by others: the path leads elsewhere now."""
        if self._consumer is not None:
            self._consumer.abandon()

    def close(self) -> None:
        """Return items that are still claimed to the queue."""
        if self._consumer is not None:
            self._consumer.close()
