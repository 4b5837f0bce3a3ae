"""Who was sent a message whose outcome is not recorded yet, so that it is not sent again by this process."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

_MOST_REMEMBERED = 10_000


class Sent:
    """Recipients by key, the oldest keys dropped first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: OrderedDict[str, frozenset[str]] = OrderedDict()

    def to(self, key: str) -> frozenset[str]:
        """Who was sent the message of this key."""
        return self._found.get(key, frozenset())

    def remember(self, key: str, recipients: set[str]) -> None:
        """Remember that recipients have it."""
        if not recipients:
            return
        with self._lock:
            self._found[key] = self._found.pop(key, frozenset()) | recipients
            while len(self._found) > _MOST_REMEMBERED:
                self._found.popitem(last=False)

    def forget(self, key: str) -> None:
        """The outcome is recorded."""
        with self._lock:
            self._found.pop(key, None)
