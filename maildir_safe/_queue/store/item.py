"""The name of an item: everything about it that changes. Pure: no file is touched here.

    <id>,S=<bytes>,g<gen>,t<tries>,n<not before>,<one letter a recipient>

    1763856000.M000123R00c0ffee00c0ffee.mx1,S=4242,g3,t2,n1763859600,od

The id is that of a Maildir's unique name, and id and size together are the name that the message
gets in a Maildir. `gen` rises whenever the item goes back to pending/, so that no path is ever used
twice: the path is the fencing token (ARCHITECTURE.md, "The queue"). With 50 recipients a name is
under 143 bytes, the shortest limit measured (securefs), and it means the same where upper and lower
case are one (SMB, vfat).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from maildir_safe._names import host_token, with_size
from maildir_safe._queue.store.states import LETTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._fs import FileSystem

MAX_RECIPIENTS = 50
_HOST_LIMIT = 20
# Numbers as `Item` writes them, so that what is parsed has the name that it was parsed from; and no longer
# than any item's, so that nobody who may write into the spool can make a worker count to 10^30.
_NAME = re.compile(
    r"((?:0|[1-9][0-9]{0,10})(?:\.[^,]{0,80})?),S=(0|[1-9][0-9]{0,14}),g(0|[1-9][0-9]{0,8})"
    rf",t(0|[1-9][0-9]{{0,8}}),n(0|[1-9][0-9]{{0,10}}),([{LETTERS}]{{1,{MAX_RECIPIENTS}}})"
)

_SHAPE = re.compile(r"[0-9]+(?:\.[^,]*)?,S=[0-9]+,g[0-9]+,t[0-9]+,n[0-9]+,[a-z]+")


class Item:
    """An entry of the queue, as its name tells it.

    Attributes:
        id: never changes.
        size: bytes of the file.
        gen: how often it was returned to pending/.
        tries: how often it was handed to a courier in vain.
        not_before: seconds since 1970 before which it is not to be tried; 0: at once.
        states: a letter for each recipient (`RecipientState`), in the envelope's order.
        name: the file's name, made of the others.
    """

    __slots__ = ("gen", "id", "name", "not_before", "size", "states", "tries")

    def __init__(
        self, ident: str, size: int, gen: int, tries: int, not_before: int, states: str, name: str = ""
    ) -> None:
        self.id = ident
        self.size = size
        self.gen = gen
        self.tries = tries
        self.not_before = not_before
        self.states = states
        self.name = name or f"{self.maildir_name}{suffix(states, not_before, gen, tries)}"

    def __repr__(self) -> str:
        return f"Item({self.name!r})"

    @property
    def maildir_name(self) -> str:
        """Its name in a Maildir: the same whoever delivers it and however often it was tried."""
        return with_size(self.id, self.size)

    @property
    def arrived(self) -> int:
        """When it was put, in seconds since 1970 on the putter's clock."""
        return int(self.id.partition(".")[0])

    def returned(self, states: str | None = None, not_before: int | None = None, tried: bool = False) -> Item:
        """The item as it goes back: a `gen` that it never had, and what else changes."""
        return Item(
            self.id,
            self.size,
            self.gen + 1,
            self.tries + tried,
            self.not_before if not_before is None else not_before,
            self.states if states is None else states,
        )


@lru_cache(maxsize=256)
def suffix(states: str, not_before: int = 0, gen: int = 0, tries: int = 0) -> str:
    """What follows id and size in an item's name."""
    return f",g{gen},t{tries},n{not_before},{states}"


def parse(name: str) -> Item | None:
    """The item with this name; None if no item has such a name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    ident, size, gen, tries, not_before, states = match.groups()
    return Item(ident, int(size), int(gen), int(tries), int(not_before), states, name)


def is_absurd(name: str) -> bool:
    """Whether a name has the shape of an item's, and no item can have it: somebody made it up."""
    return parse(name) is None and _SHAPE.fullmatch(name) is not None


class ItemIds:
    """Makes ids that no other item ever gets, on any host: 64 random bits; the rest is for people.

    Args:
        fs: where the clock and the random bits come from.
        hostname: of this host; its first 20 characters are kept.
    """

    def __init__(self, fs: FileSystem, hostname: str) -> None:
        self._fs = fs
        self._host = host_token(hostname)[:_HOST_LIMIT]

    def new(self, hashed_ids: Sequence[str]) -> list[str]:
        """Fresh ids; see `maildir_safe._names.UniqueNames.new`, in whose place it is used."""
        micros = str(self._fs.time_ns() // 1000)
        when, tail = f"{micros[:-6]}.M{micros[-6:]}", f".{self._host}"
        random = self._fs.random(8 * len(hashed_ids)).hex()
        ids = [f"{when}R{random[at : at + 16]}{tail}" for at in range(0, 16 * len(hashed_ids), 16)]
        if any(hashed_ids):  # `delivery_ids`: the key instead of what is random
            ids = [f"{when}D{key}{tail}" if key else new for new, key in zip(ids, hashed_ids, strict=True)]
        return ids
