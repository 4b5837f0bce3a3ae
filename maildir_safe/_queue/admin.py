"""Administration of a queue: list, count, pause, resume, retry and remove its items.

Every operation lists the whole queue. No operation but `fence` touches an item that a worker
holds.
"""

from __future__ import annotations

import os

from maildir_safe._handoff.rename import close_quietly
from maildir_safe._handoff.seals import is_seal
from maildir_safe._handoff.small_files import fsync_if_supported
from maildir_safe._names import host_token
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.bucket import parse as parse_bucket
from maildir_safe._queue.store.item_file import Damaged, open_item
from maildir_safe._queue.store.states import BOUNCE_DUE, BOUNCED, ITEM_STATES, OWED
from maildir_safe.errors import PermanentError, TemporaryError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from maildir_safe._fs import FileSystem
    from maildir_safe._queue.open_spool import OpenSpool
    from maildir_safe._queue.store.delivery_log import Note
    from maildir_safe._queue.store.envelope import Envelope
    from maildir_safe._queue.store.item import Item
    from maildir_safe._queue.store.states import ItemState

    T = TypeVar("T")

_LOOKS = 3
_PROOF = 2  # successive searches that do not show an item
_CHUNK = 1 << 18


class QueueEntry:
    """An item as it was listed.

    Attributes:
        state: one of `ITEM_STATES`.
        within: its bucket, the worker that holds it, or the part of hold/, failed/ or corrupt/.
        item: the item as its name describes it.
    """

    __slots__ = ("item", "state", "within")

    def __init__(self, state: ItemState, within: str, item: Item) -> None:
        self.state = state
        self.within = within
        self.item = item

    def __repr__(self) -> str:
        return f"QueueEntry({self.state!r}, {self.within!r}, {self.item!r})"

    @property
    def path(self) -> str:
        """The file's path, relative to the spool."""
        return f"{self.state}/{self.within}/{self.item.name}"


class QueueAdmin:
    """The administrative part of `maildir_safe._queue.queue.Queue`: it lists and changes items."""

    path: str
    fs: FileSystem
    _opened: OpenSpool

    def _reopen_if_remounted(self) -> None:
        """Reopen the spool if its path now leads elsewhere. Raises TemporaryError."""
        raise NotImplementedError

    def items(self, state: str | None = None) -> Iterator[QueueEntry]:
        """Every item, or the items in one of `ITEM_STATES`.

        An item that moves during the listing may appear once, twice or not at all.

        Raises:
            TemporaryError: a directory cannot be listed.
            ValueError: no such state.
        """
        if state not in (None, *ITEM_STATES):
            raise ValueError(f"a state is one of {', '.join(ITEM_STATES)}, not {state!r}")
        self._reopen_if_remounted()
        yield from self._entries(ITEM_STATES if state is None else (state,))

    def _entries(self, states: Iterable[ItemState], proof: bool = False) -> Iterator[QueueEntry]:
        """The items in these states. As a proof, a directory that is listed and "not there" is an error."""
        from maildir_safe._queue.store.item_name import parse  # a put needs no `re`

        for one in states:
            for within in self._list(self._opened.layout.fd[one]):
                for name in self._names(one, within, proof):
                    item = parse(name)
                    if item is not None:
                        yield QueueEntry(one, within, item)

    def stats(self) -> dict[str, int]:
        """The number of items in each of `ITEM_STATES`, and the age of the oldest unfinished item.

        ``oldest_age`` is in seconds, by this host's clock. Raises as `items`.
        """
        counts: dict[str, int] = dict.fromkeys(ITEM_STATES, 0)
        oldest = now = self.fs.time_ns() // 1_000_000_000
        for listed in self.items():
            counts[listed.state] += 1
            if listed.state not in ("failed", "corrupt"):
                oldest = min(oldest, listed.item.arrived)
        return {**counts, "oldest_age": now - oldest}

    def find(self, ident: str) -> QueueEntry:
        """The item with this id, or the only item whose id begins with it.

        Raises:
            KeyError: there is none, or more than one. TemporaryError: the queue cannot be listed.
        """
        for _ in range(_LOOKS):  # an item that moves between two directories may be in neither listing
            found = {listed.item.id: listed for listed in self.items() if listed.item.id.startswith(ident)}
            if ident in found:
                return found[ident]
            if len(found) == 1:
                return next(iter(found.values()))
            if found:
                raise KeyError(f"{ident}: {len(found)} items begin with it")
        raise KeyError(f"{ident}: no such item")

    def envelope(self, listed: QueueEntry) -> Envelope | None:
        """The item's sender and recipients; None if it has moved or cannot be read."""
        try:
            return self._at(listed, lambda dir_fd: self._read_envelope(dir_fd, listed.item))
        except (OSError, Damaged, envelope.Unreadable):
            return None

    def contents(self, listed: QueueEntry) -> Iterator[bytes]:
        """The pieces of the item's file: the envelope, then the message. Raises TemporaryError.

        Of a damaged item too, which may have any size.
        """
        try:
            fd = self._at(listed, lambda dir_fd: self.fs.open(listed.item.name, dir_fd))
            try:
                while piece := self.fs.read(fd, _CHUNK):
                    yield piece
            finally:
                close_quietly(self.fs, fd)
        except OSError as error:
            raise storage_error(f"read {listed.path}", error) from error

    def why(self, ident: str) -> list[Note]:
        """The notes of an item, with couriers' statuses, oldest first; ``at`` is in seconds since 1970.

        Raises:
            KeyError: there is no such item.
        """
        return self._opened.delivery_log.read(self.find(ident).item)

    def hold(self, ident: str | QueueEntry) -> None:
        """Pause an item, given by its id or as it was listed.

        Raises:
            KeyError: there is no such item. TemporaryError: a worker has it, or storage fails.
        """
        self._change(ident, ("pending",), self._opened.spool.hold)

    def unhold(self, ident: str | QueueEntry) -> None:
        """Resume a paused item, or a good item in corrupt/. Raises KeyError, TemporaryError."""
        self._change(
            ident, ("hold", "corrupt"), lambda fd, item: self._opened.spool.requeue(fd, item, item.returned())
        )

    def retry(self, ident: str | QueueEntry) -> None:
        """Make a waiting, paused or failed item due now; failed recipients are owed it again.

        An item in corrupt/ is read again, and returns to the queue if it is good.

        Raises:
            KeyError: there is no such item.
            TemporaryError: a worker has it, or storage fails.
            PermanentError: the item is in corrupt/, and is damaged.
        """

        def due_now(dir_fd: int, item: Item) -> bool:
            states = item.states.replace(BOUNCE_DUE, OWED).replace(BOUNCED, OWED)
            return self._opened.spool.requeue(dir_fd, item, item.returned(states, not_before=0))

        self._change(ident, ("pending", "hold", "failed", "corrupt"), due_now)

    def remove(self, ident: str | QueueEntry) -> None:
        """Remove an item for good, without a bounce. Raises KeyError, TemporaryError."""
        listed = self._found(ident)
        state: str = listed.state
        if state == "pending":  # a worker may claim it: a rename decides who gets it
            self.hold(listed)
            state = "hold"
        if state not in ("hold", "failed", "corrupt") or not self._opened.spool.remove(state, listed.item):
            raise TemporaryError(f"{listed.item.id}: a worker has it; try again")
        self._opened.delivery_log.remove(listed.item)

    def fence(self, host: str) -> tuple[int, int]:
        """Return at once what a dead host's workers had claimed, without waiting for their leases to end.

        This trusts the caller that the host is dead. If it lives, a message that it is sending may be sent
        twice. None is lost, and a delivery into a Maildir is still made once.

        Args:
            host: its host name.

        Returns:
            The number of its workers, and of items that were returned.

        Raises:
            ValueError: it is this host, or no host name.
            TemporaryError: the storage does not answer. The next call goes on.
        """
        token = host_token(host)
        if not host or token == host_token(os.uname().nodename):
            raise ValueError(f"{host or 'an empty name'}: not another host")
        self._reopen_if_remounted()
        return self._opened.consumer.fence_host(token)

    def _found(self, ident: str | QueueEntry) -> QueueEntry:
        return self.find(ident) if isinstance(ident, str) else ident

    def _change(
        self, ident: str | QueueEntry, states: tuple[str, ...], change: Callable[[int, Item], bool]
    ) -> None:
        listed = self._found(ident)
        if listed.state == "claimed":
            raise TemporaryError(f"{listed.item.id}: worker {listed.within} has it; try again")
        if listed.state not in states:
            raise KeyError(f"{listed.item.id}: it is in {listed.state}/, not in {' or '.join(states)}")
        if listed.state == "corrupt":
            self._check(listed)
        try:
            changed = self._at(listed, lambda dir_fd: change(dir_fd, listed.item))
        except OSError as error:
            raise storage_error(f"open {listed.path}", error) from error
        if not changed:
            raise TemporaryError(f"{listed.item.id}: another process has just moved it; try again")

    def _check(self, listed: QueueEntry) -> None:
        """Raises PermanentError: an item in corrupt/ is damaged. TemporaryError: it cannot be read now."""
        try:
            self._at(listed, lambda dir_fd: self._read_envelope(dir_fd, listed.item))
        except (Damaged, envelope.Unreadable) as reason:
            raise PermanentError(f"{listed.item.id} is damaged: {reason}") from None
        except OSError as error:
            raise storage_error(f"read {listed.path}", error) from error

    def _names(self, state: str, within: str, proof: bool = False) -> list[str]:
        if state == "pending" and parse_bucket(within) is None:
            return []
        above = self._opened.layout.fd[state]
        try:
            dir_fd = self.fs.open_dir(within, above)
        except NotADirectoryError:
            return []  # a stray file
        except FileNotFoundError as error:
            if proof and within in self._list(above):  # one answer "not there" may be wrong
                raise storage_error(f"open {state}/{within}, which is listed", error) from error
            return []  # a bucket or a worker that has gone
        except OSError as error:
            raise storage_error(f"open {state}/{within}", error) from error
        try:
            return self._list(dir_fd)
        finally:
            close_quietly(self.fs, dir_fd)

    def _list(self, dir_fd: int) -> list[str]:
        try:
            return sorted(self.fs.listdir(dir_fd))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(f"list {self.path}", error) from error

    def _at(self, listed: QueueEntry, act: Callable[[int], T]) -> T:
        dir_fd = self.fs.open_dir(listed.within, self._opened.layout.fd[listed.state])
        try:
            return act(dir_fd)
        finally:
            close_quietly(self.fs, dir_fd)

    def _item_put_with(self, key: str) -> str | None:
        """Make the item that was put with this key durable, and return its id; None if there is none.

        One listing may omit a name that exists, and the rest of the name is unknown, so it cannot be looked
        up. Only two searches in succession prove that there is none. Raises TemporaryError: they do not.
        """
        from maildir_safe._queue.store.delivery_ids import key_in

        for _ in range(_PROOF):
            self._reopen_if_remounted()
            for listed in self._entries(ITEM_STATES, proof=True):
                if key_in(listed.item) == key and self._make_durable(listed):
                    return listed.item.id
        return None

    def _make_durable(self, listed: QueueEntry) -> bool:
        """Make an item durable where it is; False: it is a seal, which a late rename has moved there.

        If it has moved since, the process that moved it has made it durable.
        """

        def act(dir_fd: int) -> bool:
            if is_seal(self.fs, dir_fd, listed.item.name):
                return False
            fsync_if_supported(self.fs, dir_fd)
            return True

        try:
            return self._at(listed, act)
        except FileNotFoundError:
            return True

    def _read_envelope(self, dir_fd: int, item: Item) -> Envelope:
        with open_item(self.fs, item, dir_fd) as file:
            return envelope.read(file, item.states)
