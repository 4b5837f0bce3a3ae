"""One process's way into pending/: its own buckets, and the putting of new items.

Putting is delivering (`maildir_safe.maildir.delivery`): write all, make durable, rename all, one
fsync. Only the target differs: a bucket instead of new/. A bucket belongs to one writer, so that
the writer knows how full it is without looking.
"""

from __future__ import annotations

import itertools
from threading import Lock
from typing import cast

from maildir_safe.commit import DirectorySync
from maildir_safe.errors import TemporaryError, storage_error
from maildir_safe.handoff import close_quietly
from maildir_safe.maildir.delivery import Delivery
from maildir_safe.maildir.directories import CLIENT_ONLY, Directories
from maildir_safe.maildir.letter import Letter
from maildir_safe.names import UniqueNames
from maildir_safe.queue.bucket import LIMIT, NOW, Bucket
from maildir_safe.queue.item import Item, suffix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe.fs import FileSystem
    from maildir_safe.maildir.source import Pieces
    from maildir_safe.queue.item import ItemIds
    from maildir_safe.queue.layout import Layout

RETIRED_AFTER = 600.0
"""Seconds after which a writer leaves a bucket, so that others may remove it when it stays empty."""

_BATCH = 256
_FRESH = 1.0  # seconds
_SUBDIR = "pending"


class Put(Letter):
    """An item on its way in.

    Args:
        pieces: the envelope and the message.
        states: a letter for each recipient.
        not_before: seconds since 1970 before which it is not to be tried; 0: at once.
    """

    timed = False

    __slots__ = ("not_before", "states")

    def __init__(self, pieces: Pieces, states: str, not_before: int) -> None:
        Letter.__init__(self, pieces, _SUBDIR, suffix(states, not_before))
        self.states = states
        self.not_before = not_before


class Target:
    """An open bucket; in the eyes of `Delivery`, the directories of a Maildir.

    Attributes:
        name: of the bucket.
        count: how many items were put in.
        made: when, on the MONOTONIC clock, in seconds.
        dir_fd: its descriptor, closed when the last user lets go.
    """

    def __init__(self, fs: FileSystem, layout: Layout, name: str, dir_fd: int, durable: bool) -> None:
        self._fs = fs
        self._layout = layout  # whose descriptor of tmp/ stays open as long as this one is used
        self.name = name
        self.count = 0
        self.made = fs.monotonic()
        self._fresh: list[Item] = []
        self._noted = 0.0
        self.dir_fd = dir_fd
        self.root = layout.root
        self.tmp = layout.fd["tmp"]
        self.fstype = layout.fstype
        self.sync = {_SUBDIR: DirectorySync(fs, dir_fd, layout.fstype)}
        self.durability = "client" if layout.fstype in CLIENT_ONLY else "full" if durable else "file"

    def __del__(self) -> None:
        close_quietly(self._fs, self.dir_fd)

    def note(self, puts: list[Put]) -> None:
        """Remember what was put in: who claims as well need not list the bucket to find it."""
        fresh = self._fresh
        if not fresh:
            self._noted = self._fs.monotonic()
        fresh.extend(
            [
                Item(put.unique, put.size, 0, 0, put.not_before, put.states, put.name)
                for put in puts
                if put.proof
            ]
        )

    def fresh(self) -> list[Item]:
        """What was noted since this was asked last; nothing if others have had time to take the first."""
        fresh, self._fresh = self._fresh, []
        return fresh if self._fs.monotonic() - self._noted < _FRESH else []

    def fd(self, subdir: str) -> int:  # noqa: ARG002 - there is one
        """The bucket's descriptor."""
        return self.dir_fd


class Writer:
    """Makes buckets and puts items into them. Thread-safe.

    Args:
        fs: the file system's calls.
        layout: the spool.
        shard: this process's part of bucket names; no other process has it.
        ids: makes item ids.
        require: least durability of a put; see `maildir_safe.maildir.receipt.LEVELS`.
        patience: see `maildir_safe.handoff.Handoff`.
    """

    def __init__(
        self, fs: FileSystem, layout: Layout, shard: str, ids: ItemIds, require: str | None, patience: float
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._shard = shard
        self._ids = ids
        self._require = require
        self._patience = patience
        self._lock = Lock()
        self._seq = itertools.count()
        self._targets: dict[str, Target] = {}
        self._now = self._delivery(NOW)

    def put(self, letter: Put, period: str = NOW) -> None:
        """Put one message; concurrent callers share fsyncs. Raises as `Delivery.deliver` does.

        Args:
            period: see `maildir_safe.queue.bucket.period`.
        """
        target = self.target(period, 1)
        if period == NOW:
            self._now.deliver(letter)
            target.note([letter])
        else:
            self._delivery(period).deliver(letter)

    def put_many(self, letters: list[Put], period: str = NOW) -> bool:
        """Put messages with few fsyncs; whether all are. What became of each is in the letter."""
        delivery = self._now if period == NOW else self._delivery(period)
        good = True
        for start in range(0, len(letters), _BATCH):
            batch = letters[start : start + _BATCH]
            try:
                target = self.target(period, len(batch))
            except TemporaryError as error:
                for letter in batch:
                    letter.error = error
                good = False
                continue
            good &= delivery.commit_alike(batch)
            if period == NOW:
                target.note(batch)
        return good

    def target(self, period: str, count: int = 0, anew: bool = False) -> Target:
        """The open bucket of a period, made if need be.

        Args:
            count: how many items are about to be put in.
            anew: the one handed out before has vanished.

        Raises:
            TemporaryError: it cannot be made.
        """
        with self._lock:
            target = self._targets.get(period)
            old = target and (target.count >= LIMIT or self._fs.monotonic() - target.made > RETIRED_AFTER)
            if target is None or old or anew:
                target = self._make(period)
                self._forget_old()
                self._targets[period] = target
            target.count += count
            return target

    def _again(self, period: str, anew: bool) -> Target:
        """What `target` has just given for a delivery, or another one if that has vanished."""
        target = None if anew else self._targets.get(period)
        return target or self.target(period, anew=anew)

    def current(self) -> Target | None:
        """The bucket for what is due now, as it was handed out last; None if there was none yet."""
        return self._targets.get(NOW)

    def _make(self, period: str) -> Target:
        """A new bucket, durable before anything in it is acknowledged."""
        name = Bucket(period, self._shard, next(self._seq)).name
        pending = self._layout.fd["pending"]
        try:
            try:
                self._fs.mkdir(name, pending)
            except FileExistsError:
                pass  # nobody else makes this name: it was made, and the reply was lost
            dir_fd = self._fs.open_dir(name, pending)
            try:
                durable = self._layout.sync["pending"].sync()
            except OSError:
                close_quietly(self._fs, dir_fd)
                raise
        except OSError as error:
            raise storage_error(f"make the bucket {self._layout.path}/pending/{name}", error) from error
        return Target(self._fs, self._layout, name, dir_fd, durable)

    def _forget_old(self) -> None:
        now = self._fs.monotonic()
        for period in [p for p, target in self._targets.items() if now - target.made > RETIRED_AFTER]:
            del self._targets[period]

    def _delivery(self, period: str) -> Delivery:
        return Delivery(
            self._fs,
            self._layout.path,
            cast("Callable[[bool], Directories]", lambda anew: self._again(period, anew)),
            cast(UniqueNames, self._ids),
            "tmp",
            self._require,
            self._patience,
        )
