"""Search by words: in what a person reads of a message, decoded, and not in how it is written.

A message is read when it is searched first; its text is then remembered, as far as there is room.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable
from typing import Generic, TypeVar

from maildir_safe._mail.message import read_mail

T = TypeVar("T")

SEARCHED = 1 << 20
"""Bytes of a message, from its beginning, that are looked through."""
_WORD = re.compile(r"\S{1,512}")
_REMEMBERED = 48 << 20


def folded(text: str) -> str:
    """Text as it is compared: without regard to case, and to how an accent is composed.

    Word by word: a letter with a million accents would take time in proportion to their square.
    """
    if not text.isascii():
        text = _WORD.sub(lambda word: unicodedata.normalize("NFC", word[0]), text)
    return text.casefold()


def haystack(raw: bytes) -> str:
    """All that a message says: the values of its header, text, HTML, names of attachments."""
    mail = read_mail(raw, images=False)
    values = [value for _, value in mail.headers]
    names = [part.name for part in mail.attachments]
    return folded("\n".join([*values, *mail.summary.envelope, mail.text or "", mail.html_text, *names]))


class Memory(Generic[T]):
    """Remembers what was read of messages, as far as there is room. Thread-safe.

    What came in last makes room, not what came in first: a search goes through all messages from
    the newest on, and would forget each before it comes round again.

    Args:
        most: entries.
        longest: of all of them together, as `length` counts.
        length: of one.
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
        """Of all entries together."""
        return self._length

    def get(self, key: str) -> T | None:
        """What is remembered, or None."""
        return self._entries.get(key)

    def put(self, key: str, entry: T) -> None:
        """Remember it, and forget what there is no room for."""
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
        """Make room: its message has gone."""
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._length -= self._length_of(entry)


def texts() -> Memory[str]:
    """A memory for haystacks."""
    return Memory(1 << 30, _REMEMBERED, lambda text: len(text) + 100)
