"""Search by words, in the decoded text of messages as a person reads it.

A message is read when it is first searched. Its text is then remembered, as far as there is room.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections.abc import Callable
from typing import Generic, TypeVar

from maildir_safe._mail.everything import Everything, read_everything
from maildir_safe._mail.message import shown_headers

T = TypeVar("T")

_WORD = re.compile(r"\S{1,512}")
_REMEMBERED = 48 << 20


def folded(text: str) -> str:
    """Normalise text for comparison: letter case and the composition of accents do not matter.

    Works word by word, as normalising one letter with a million accents would take quadratic time.
    """
    if not text.isascii():
        text = _WORD.sub(lambda word: unicodedata.normalize("NFC", word[0]), text)
    return text.casefold()


def haystack(raw: bytes) -> str:
    """The searchable text of a message: header values, all text parts, and names of attachments."""
    return haystack_of(read_everything(raw))


def haystack_of(mail: Everything) -> str:
    """`haystack` of a message that was read."""
    values = [value for _, value in shown_headers(mail.structure.parts[0])]
    return folded("\n".join([*values, *mail.summary.envelope, mail.body, *mail.names]))


def has_all(text: str, words: list[str], until: float) -> bool | None:
    """Whether a text has all words; None: the time is over, by the monotonic clock."""
    for word in words:
        if time.monotonic() > until:
            return None
        if word not in text:
            return False
    return True


class BoundedCache(Generic[T]):
    """A bounded cache of what was read from messages. Thread-safe.

    When it is full, the last entry is evicted, not the first. A search goes through all messages from
    the newest on; evicting the oldest entry would evict each before the next search needs it.

    Args:
        most: most entries.
        longest: most length of all entries together, as `length` counts.
        length: returns the length of an entry.
    """

    def __init__(self, most: int, longest: int, length: Callable[[T], int]) -> None:
        self._most, self._longest, self._length_of = most, longest, length
        self._entries: dict[str, T] = {}
        self._length = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def length(self) -> int:
        """The length of all entries together."""
        return self._length

    def get(self, key: str) -> T | None:
        """The entry for `key`, or None."""
        return self._entries.get(key)

    def put(self, key: str, entry: T) -> None:
        """Add an entry. Evict others to make room."""
        length = self._length_of(entry)
        with self._lock:
            if key in self._entries or length > self._longest:
                return
            while self._entries and (
                len(self._entries) >= self._most or self._length + length > self._longest
            ):
                self._length -= self._length_of(self._entries.popitem()[1])
            self._entries[key] = entry
            self._length += length

    def forget(self, key: str) -> None:
        """Remove the entry of a message that is gone."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._length -= self._length_of(entry)


def texts() -> BoundedCache[str]:
    """A cache for the texts of `haystack`."""
    return BoundedCache(1 << 30, _REMEMBERED, lambda text: len(text) + 100)
