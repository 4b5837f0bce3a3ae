"""Destinations that could not be reached, and are left alone for a while: also after a restart.

Without this, each new message to a server that is down would wait for its own time-out. A worker keeps the
table in a file of the spool, one per host. It is an optimisation: a table that is missing, damaged or old
costs one attempt per destination, and nothing else.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._maildir.side_file import SideFiles
from maildir_safe._names import host_token
from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maildir_safe._fs import FileSystem

PREFIX = ".suspended."
"""The file's name begins so; the name of the host follows."""

LONGEST = 600.0
"""Most seconds that a destination is left alone: it may be back at any time."""

_NETWORK = "4.4."  # RFC 3463: network and routing status
_SHARE = 0.9  # of the wait of an item that failed as often, so that it is due when this is over
_WRITTEN_EVERY = 5.0  # seconds
_MOST, _LARGEST, _LONGEST_NAME = 5_000, 1 << 20, 255
_STATUS = RecipientStatus(451, "4.4.1 the destination could not be reached lately, and was not tried now")


class Suspensions:
    """The destinations that are left alone now. Thread-safe.

    Args:
        fs: the file system's calls.
        path: the spool.
        host: our name.
        first: seconds after the first failure; each further one doubles them, up to `LONGEST`.
    """

    def __init__(self, fs: FileSystem, path: str, host: str, first: float) -> None:
        self._fs = fs
        self._files = SideFiles(fs, path)
        self._name = PREFIX + host_token(host)
        self._first = first
        self._lock, self._writing = Lock(), Lock()
        self._found: dict[str, tuple[int, float]] | None = None
        self._written_at = float("-inf")
        self._changed = False

    def status(self, destination: str) -> RecipientStatus | None:
        """The status of recipients at a destination that is left alone now; None for any other."""
        with self._lock:
            return _STATUS if self._is_suspended(self._table().get(destination)) else None

    def record(self, destination: str, statuses: Iterable[RecipientStatus]) -> None:
        """Take note of the outcome of an attempt."""
        reached = not all(
            not status.done and not status.permanent and status.text.startswith(_NETWORK)
            for status in statuses
        )
        with self._lock:
            table = self._table()
            known = table.get(destination)
            if (known is None if reached else self._is_suspended(known)) or len(destination) > _LONGEST_NAME:
                return  # it is known to be so
            if reached:
                del table[destination]
            else:
                failures = min(1 + (known[0] if known else 0), 32)
                wait = min(self._first * 2.0 ** (failures - 1), LONGEST) * _SHARE
                if wait <= 0:
                    return
                while len(table) >= _MOST:
                    del table[next(iter(table))]
                table.pop(destination, None)
                table[destination] = failures, self._now() + wait
            self._changed = True
        if self._fs.monotonic() - self._written_at >= _WRITTEN_EVERY:
            self.save()

    def save(self) -> None:
        """Write the table if it has changed. Errors are ignored."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            with self._lock:
                if not self._changed:
                    return
                data = json.dumps(self._table()).encode()
                self._changed = False
            self._written_at = self._fs.monotonic()
            self._files.write(self._name, data)
        except TemporaryError:
            pass  # the storage is in trouble: more important calls say so
        finally:
            self._writing.release()

    def _is_suspended(self, known: tuple[int, float] | None) -> bool:
        # a clock that was set back must not suspend anything for longer
        return known is not None and 0 < known[1] - self._now() <= LONGEST

    def _table(self) -> dict[str, tuple[int, float]]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def _read(self) -> dict[str, tuple[int, float]]:
        try:
            found = json.loads(self._files.read(self._name, _LARGEST) or b"{}")
        except (TemporaryError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict) or len(found) > _MOST:
            return {}
        return {name: (entry[0], entry[1]) for name, entry in found.items() if _is_entry(entry)}

    def _now(self) -> float:
        return self._fs.time_ns() / 1e9


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and type(entry[0]) is int
        and 0 < entry[0] <= 32
        and type(entry[1]) is float
        and 0 <= entry[1] < 1e11
    )
