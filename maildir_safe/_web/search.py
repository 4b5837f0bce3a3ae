"""Search by words: in what a person reads of a message, decoded, and not in how it is written.

A message is read when it is searched first; its text is then remembered, as far as there is room.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict

from maildir_safe._mail.message import read_mail

SEARCHED = 1 << 20
"""Bytes of a message, from its beginning, that are looked through."""
_REMEMBERED = 32 << 20


def folded(text: str) -> str:
    """Text as it is compared: without regard to case, and to how an accent is composed."""
    return unicodedata.normalize("NFC", text).casefold()


def haystack(raw: bytes) -> str:
    """All that a message says: the values of its header, text, HTML, names of attachments."""
    mail = read_mail(raw, images=False)
    values = [value for _, value in mail.headers]
    names = [part.name for part in mail.attachments]
    return folded("\n".join([*values, *mail.summary.envelope, mail.text or "", mail.html_text, *names]))


class Texts:
    """Remembers haystacks by key, the latest used ones."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._length = 0

    def get(self, key: str) -> str | None:
        """The text of a message, if it is remembered."""
        text = self._texts.get(key)
        if text is not None:
            self._texts.move_to_end(key)
        return text

    def put(self, key: str, text: str) -> None:
        """Remember it, and forget what there is no room for."""
        self._length += len(text) - len(self._texts.pop(key, ""))
        self._texts[key] = text
        while self._length > _REMEMBERED and self._texts:
            self._length -= len(self._texts.popitem(last=False)[1])
