"""The name of an item: everything about it that changes. Pure: no file is touched here.

    <id>,S=<bytes>,g<gen>,t<tries>,n<not before>,<one letter a recipient>

    1763856000.M000123R00c0ffee00c0ffee.mx1,S=4242,g3,t2,n1763859600,od

The id is that of a Maildir's unique name, and id and size together are the name that the message
gets in a Maildir. `gen` rises whenever the item goes back to pending/, so that no path is ever used
twice: the path is the fencing token (ARCHITECTURE.md, "The queue"). With 50 recipients a name is
under 143 bytes, the shortest limit measured (securefs, FACTS.md section 1), and it means the same
where upper and lower case are one (SMB, vfat).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from maildir_safe.names import host_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from maildir_safe.fs import FileSystem

OWED = "o"
"""The recipient has not been given the message yet."""
DONE = "d"
"""The recipient has it."""
FAILED = "f"
"""Given up, and the sender has not been told yet."""
BOUNCED = "b"
"""Given up, and the sender was told, or there is nobody to tell."""

MAX_RECIPIENTS = 50
_HOST_LIMIT = 20


@dataclass(frozen=True)
class Item:
    """An entry of the queue, as its name tells it.

    Attributes:
        id: never changes.
        size: bytes of the file.
        gen: how often it was returned to pending/.
        tries: how often it was handed to a courier in vain.
        not_before: seconds since 1970 before which it is not to be tried; 0: at once.
        states: one letter a recipient, in the envelope's order.
    """

    id: str
    size: int
    gen: int
    tries: int
    not_before: int
    states: str

    @cached_property
    def name(self) -> str:
        """The file's name."""
        return f"{self.maildir_name}{suffix(self.states, self.not_before, self.gen, self.tries)}"

    @property
    def maildir_name(self) -> str:
        """Its name in a Maildir: the same whoever delivers it and however often it was tried."""
        return f"{self.id},S={self.size}"

    @property
    def arrived(self) -> int:
        """When it was put, in seconds since 1970 on the putter's clock."""
        return int(self.id.partition(".")[0])

    def returned(self, states: str | None = None, not_before: int | None = None, tried: bool = False) -> Item:
        """The item as it goes back: a `gen` that it never had, and what else changes."""
        return replace(
            self,
            gen=self.gen + 1,
            tries=self.tries + tried,
            not_before=self.not_before if not_before is None else not_before,
            states=self.states if states is None else states,
        )


def suffix(states: str, not_before: int = 0, gen: int = 0, tries: int = 0) -> str:
    """What follows id and size in an item's name."""
    return f",g{gen},t{tries},n{not_before},{states}"


def parse(name: str) -> Item | None:
    """The item with this name; None if no item has such a name."""
    try:
        ident, size, gen, tries, not_before, states = name.split(",")
        item = Item(ident, int(size[2:]), int(gen[1:]), int(tries[1:]), int(not_before[1:]), states)
    except ValueError:
        return None
    seconds = ident.partition(".")[0]
    good = seconds.isascii() and seconds.isdecimal() and states and not states.strip("odfb")
    return item if good and item.name == name else None


class ItemIds:
    """Makes ids that no other item ever gets, on any host: 64 random bits; the rest is for people.

    Args:
        fs: where the clock and the random bits come from.
        hostname: of this host; its first 20 characters are kept.
    """

    def __init__(self, fs: FileSystem, hostname: str) -> None:
        self._fs = fs
        self._host = host_token(hostname)[:_HOST_LIMIT]

    def new(self, hashed_id: str = "") -> str:
        """A fresh id; see `maildir_safe.names.UniqueNames.new`, in whose place it is used."""
        seconds, nanoseconds = divmod(self._fs.time_ns(), 1_000_000_000)
        return f"{seconds}.M{nanoseconds // 1000:06d}R{self._fs.random(8).hex()}{hashed_id}.{self._host}"
