"""The name of an item, which holds its whole state. Pure: no file is touched here.

    <id>,S=<bytes>,g<gen>,t<tries>,n<not before>,<one letter per recipient>

    1763856000.M000123R00c0ffee00c0ffee.mx1,S=4242,g3,t2,n1763859600,od

The id has the form of a Maildir's unique name; id and size together are the message's name in a Maildir.
`gen` rises whenever the item returns to pending/, so that no path is ever used twice: the path is the
fencing token (ARCHITECTURE.md, "The queue"). With 50 recipients a name has less than 143 bytes, the
shortest limit measured (securefs). Names do not depend on case, which SMB and vfat ignore.
`item_name` reads a name.
"""

from __future__ import annotations

from maildir_safe._names import host_token, with_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from maildir_safe._fs import FileSystem

MAX_RECIPIENTS = 50
_HOST_LIMIT = 20


class Item:
    """An entry of the queue, as its name describes it.

    Attributes:
        id: never changes.
        size: the size of the file, in bytes.
        gen: how many times it was returned to pending/.
        tries: the number of failed attempts.
        not_before: seconds since 1970 before which it is not attempted; 0: at once.
        states: one letter per recipient (`states.RECIPIENT_STATES`), in the envelope's order.
        name: the file's name, composed of the other attributes.
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
        """The item's name in a Maildir, which does not depend on the worker or the number of attempts."""
        return with_size(self.id, self.size)

    @property
    def arrived(self) -> int:
        """When it was put, in seconds since 1970 on the putter's clock."""
        return int(self.id.partition(".")[0])

    def returned(self, states: str | None = None, not_before: int | None = None, tried: bool = False) -> Item:
        """The item as it returns to pending/: with the next `gen`, and the given changes."""
        return Item(
            self.id,
            self.size,
            self.gen + 1,
            self.tries + tried,
            self.not_before if not_before is None else not_before,
            self.states if states is None else states,
        )


def suffix(states: str, not_before: int = 0, gen: int = 0, tries: int = 0) -> str:
    """The part of an item's name after id and size."""
    return f",g{gen},t{tries},n{not_before},{states}"


class ItemIds:
    """Makes ids that are unique across hosts: they have 64 random bits; the rest is for people.

    Args:
        fs: the source of the time and of the random bits.
        hostname: of this host; its first 20 characters are kept.
    """

    def __init__(self, fs: FileSystem, hostname: str) -> None:
        self._fs = fs
        self._host = host_token(hostname)[:_HOST_LIMIT]

    def new(self, hashed_ids: Sequence[str]) -> list[str]:
        """New ids, or those that `with_key` has made; replaces `maildir_safe._names.UniqueNames.new`."""
        when = self._when()
        random = self._fs.random(8 * len(hashed_ids)).hex(" ", 8).split()
        ids = [f"{when}R{bits}.{self._host}" for bits in random]
        if any(hashed_ids):
            ids = [made or new for new, made in zip(ids, hashed_ids, strict=True)]
        return ids

    def with_key(self, key: str) -> str:
        """A new id in which the key of a delivery id replaces the random bits."""
        return f"{self._when()}D{key}.{self._host}"

    def _when(self) -> str:
        micros = str(self._fs.time_ns() // 1000)
        return f"{micros[:-6]}.M{micros[-6:]}"

    complete = staticmethod(with_size)  # as `Item.maildir_name`; replaces `UniqueNames.complete`
