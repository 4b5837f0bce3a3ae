"""What a listing of one directory of a Maildir showed, as names alone.

A name costs far less than an object for each of 100,000 messages: `Message` objects are made when
somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Collection

from maildir_safe._names import is_unique, may_be_message, split


class Listed:
    """A directory as it was last listed. It is never changed, since other threads read it.

    Attributes:
        names: all names as listed, including strays.
        strays: names that were not files; they are checked again, since a name may become a file.
        by_key: the names of its messages by key. If two names have one key, the last one listed counts.
    """

    __slots__ = ("_count", "by_key", "names", "strays")

    def __init__(
        self, names: list[str], strays: set[str], by_key: dict[str, str] | None = None, count: int = -1
    ) -> None:
        if by_key is None or len(by_key) != count:  # two names with one key, now or before
            files = [name for name in names if may_be_message(name) and name not in strays]
            by_key, count = dict(zip(keys_of(files), files, strict=True)), len(files)
        self.names = names
        self.strays = strays
        self.by_key = by_key
        self._count = count

    def changed(self, names: list[str], strays: set[str], come: Collection[str], gone: set[str]) -> Listed:
        """Return the directory after a new listing.

        Args:
            names: all names as listed.
            strays: those that are not files.
            come: the names that became messages.
            gone: the names that disappeared.
        """
        by_key = self.by_key.copy()
        lost = {name for name in gone if may_be_message(name)} - self.strays
        for name in lost:
            key = split(name)[0]
            if by_key.get(key) == name:
                del by_key[key]
        by_key.update(zip(keys_of(come), come, strict=True))
        return Listed(names, strays, by_key, self._count - len(lost) + len(come))

    def without(self, name: str) -> Listed:
        """Return the directory with a name among the strays."""
        return Listed(self.names, self.strays | {name})


def keys_of(names: Collection[str]) -> list[str]:
    """Return the keys of names, as `split` returns them."""
    text = "/".join(names)
    if ";" in text or "!" in text or ":1," in text or "/:2," in f"/{text}":
        return [split(name)[0] for name in names]
    return [name.partition(":2,")[0] for name in names] if ":2," in text else [*names]


def doubtful(names: Collection[str]) -> set[str]:
    """Return the names that do not have the form of a unique name: they may be no messages."""
    maybe = [  # the usual form is tested here, since a listing may have 100,000 names
        name for name in names if name[10:11] != "." or name.find(".", 12) < 0 or not name[:10].isdecimal()
    ]
    return {name for name in maybe if not is_unique(name)}


def difference(before: list[str], names: list[str]) -> tuple[set[str], set[str]]:
    """Return the names that appeared and those that disappeared. Equal starts and ends are skipped."""
    start = _alike(before, names)
    end = min(_alike(before[::-1], names[::-1]), len(before) - start, len(names) - start)
    old, new = set(before[start : len(before) - end]), set(names[start : len(names) - end])
    return (new - old, old - new) if old else (new, old)


def _alike(one: list[str], other: list[str]) -> int:
    """Return the length of the common start of two lists. It bisects: slices compare faster than items."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
