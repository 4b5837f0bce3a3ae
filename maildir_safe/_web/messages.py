"""Lists of messages, newest first, as ids: a message becomes an object when it is shown or read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import overload

from maildir_safe._web.ordering import is_unread, order
from maildir_safe._web.placed import Part, Placed

CONDITIONS: dict[str, Callable[[Placed], bool]] = {
    "is:unread": is_unread,
    "is:read": lambda message: not is_unread(message),
    "is:starred": lambda message: "F" in message.flags,
}
"""What a search may ask for besides words; the listing alone decides it."""


class Messages(Sequence[Placed]):
    """Some messages, newest first, as one listing showed them. It is never changed.

    Args:
        ids: their ids, in this order.
        parts: the mailboxes' listings, by mark.

    Attributes:
        ids: their ids.
    """

    def __init__(self, ids: list[str], parts: Mapping[str, Part]) -> None:
        self.ids, self._parts = ids, parts

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Placed]:
        return map(self._placed, self.ids)

    @overload
    def __getitem__(self, at: int) -> Placed: ...

    @overload
    def __getitem__(self, at: slice) -> Messages: ...

    def __getitem__(self, at: int | slice) -> Placed | Messages:
        return self.of(self.ids[at]) if isinstance(at, slice) else self._placed(self.ids[at])

    def of(self, ids: list[str]) -> Messages:
        """Some of these messages, by their ids."""
        return Messages(ids, self._parts)

    def get(self, key: str) -> Placed | None:
        """The message with this id in the listing, whether or not it is one of these."""
        own, tilde, digits = key.rpartition("~")
        part = self._parts.get(tilde + digits) if tilde else None
        if part is None:
            own, part = key, self._parts.get("")
        return part.get(own) if part else None

    def number(self, key: str) -> int | None:
        """At which place a message is, counted from 0; None: it is not one of these."""
        wanted, low, high = order(key), 0, len(self.ids)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if order(self.ids[middle]) > wanted else (low, middle)
        return low if low < len(self.ids) and self.ids[low] == key else None

    def _placed(self, key: str) -> Placed:
        found = self.get(key)
        assert found is not None  # the ids are those of the parts
        return found


def together(parts: Iterable[Part]) -> dict[str, Part]:
    """Listings of mailboxes by mark, as `Messages` takes them."""
    return {part.mark: part for part in parts}


def narrowed(messages: Messages, words: list[str]) -> tuple[Messages, list[str]]:
    """The messages for which all `CONDITIONS` among the words hold, and the other words."""
    conditions = [CONDITIONS[word] for word in words if word in CONDITIONS]
    if conditions:
        kept = [one.key for one in messages if all(holds(one) for holds in conditions)]
        messages = messages.of(kept)
    return messages, [word for word in words if word not in CONDITIONS]
