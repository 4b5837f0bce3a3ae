"""The invariants, by name, and the ledger against which they are checked.

The ledger is kept outside the code under test: it knows what was handed in, what the answer was,
and nothing of how the answer came about. Files are given as path -> contents.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

INVARIANTS = {
    "I1": "acknowledged, so present, byte for byte",
    "I2": "acknowledged once, so present once",
    "I3": "visible, so complete: on every host, at every moment",
    "I4": "a second copy is explained by the history: an unknown outcome, tried again without an id",
    "I5": "refused, so not visible, now or later",
    "I6": "flags and moves lose nothing, and stay as acknowledged",
    "I7": "the janitor takes what is old, and nothing young or live",
    "I8": "recovery can be repeated and interrupted",
    "I9": "when faults stop, everything settles in a bounded number of calls",
}


class Violation(AssertionError):
    """An invariant does not hold.

    Attributes:
        name: which, of `INVARIANTS`.
        history: the file calls that led there, readable.
    """

    def __init__(self, name: str, text: str, history: Iterable[object] = ()) -> None:
        self.name = name
        self.text = text
        self.history = [str(call) for call in history]
        lines = "\n  ".join(self.history)
        super().__init__(f"{name} ({INVARIANTS[name]}): {text}" + (f"\n  {lines}" if lines else ""))


@dataclass(slots=True)
class Entry:
    """One message, as its senders know it.

    Attributes:
        body: the message as handed in.
        has_id: every try carried the same delivery id.
        acked, unknown, refused: how many tries ended so.
        under_way: an attempt has begun and not ended (after a crash its outcome stays unknown).
        durability: what the last receipt promised.
        strays: requests that a file system may execute after everyone has given up.
        key: its name without flags, as the receipt told it.
        box: the Maildir it was handed to.
        removed: its removal was asked for; `gone`: and acknowledged.
        loose: a request that changes its place or flags may still be executed, at any time.
        second_names: changes of unknown outcome whose rename left both names (``both`` of
            `simfaults.Fault`): the storage may never have let anybody remove the other one.
        places: directory and flags (``("/mail", "S")``) that it may have; None: any.
    """

    body: bytes
    has_id: bool
    acked: int = 0
    unknown: int = 0
    refused: int = 0
    under_way: bool = False
    durability: str = "full"
    strays: int = 0
    removed: bool = False
    gone: bool = False
    key: str = ""
    box: str = ""
    places: set[tuple[str, str]] | None = None
    loose: bool = False
    second_names: int = 0

    @property
    def most(self) -> int:
        """The number of copies that the history can explain."""
        if self.has_id:
            tried = self.acked or self.unknown or self.under_way
            return self.strays + self.second_names + (1 if tried else 0)
        return self.acked + self.unknown + self.under_way + self.second_names


@dataclass(slots=True)
class Ledger:
    """The messages handed in, and the answers to them.

    Attributes:
        entries: each message by its token.
        young: files in tmp/ that no janitor may touch.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    young: set[str] = field(default_factory=set)

    def begin(self, token: str, body: bytes, has_id: bool) -> Entry:
        """Record that an attempt to deliver this message begins."""
        entry = self.entries.setdefault(token, Entry(body, has_id))
        entry.under_way = True
        return entry

    def copy(self) -> Ledger:
        """Return an independent copy, for the events after a crash that the original does not see."""
        twin = {token: copy.copy(entry) for token, entry in self.entries.items()}
        for entry in twin.values():
            entry.places = entry.places and entry.places.copy()
        return Ledger(twin, self.young)

    def crashed(self) -> None:
        """Record that callers still waiting for an answer never get one."""
        for entry in self.entries.values():
            entry.unknown += entry.under_way
            entry.under_way = False
            entry.gone = False  # nobody promised that a removal is durable
            if entry.durability != "full":  # nor what the receipt said was not
                entry.unknown += entry.acked
                entry.acked = 0
                entry.loose = True

    def check(self, files: Mapping[str, bytes], *, crash: bool = False, present: bool = True) -> None:
        """Raise `Violation` unless I1 to I7 hold for these files.

        Args:
            files: every file: path -> contents.
            crash: they were found after a crash, so only full durability counts as promised.
            present: also demand what is acknowledged; False where hosts still hold changes back.
        """
        found = self.complete(files)
        for token, entry in self.entries.items():
            self._check_one(token, entry, found[token], crash, present)
        for path in self.young - files.keys():
            raise Violation("I7", f"{path} is young and was taken")

    def complete(self, files: Mapping[str, bytes]) -> dict[str, list[str]]:
        """Raise `Violation` unless I3 holds; return where each message is visible."""
        found: dict[str, list[str]] = {token: [] for token in self.entries}
        bodies = {entry.body: token for token, entry in self.entries.items()}
        for path, data in files.items():
            if visible(path):
                if data not in bodies:
                    raise Violation("I3", f"{path} is visible and holds {data[:60]!r}")
                found[bodies[data]].append(path)
        return found

    def _check_one(self, token: str, entry: Entry, paths: list[str], crash: bool, present: bool) -> None:
        moved = entry.places is not None
        promised = entry.acked and not entry.removed and (entry.durability == "full" or not crash)
        if promised and present and not paths:
            raise Violation("I6" if moved else "I1", f"{token} was acknowledged and is not there")
        if len(paths) > entry.most:
            name = "I6" if moved else "I4" if entry.unknown else "I2" if entry.most else "I5"
            raise Violation(name, f"{token} is there {len(paths)} times, {entry.most} explained: {paths}")
        # copies that late requests deliver are where they were handed to, whatever the message became since
        late = [path for path in paths if place(path) == (entry.box, "")][: entry.strays]
        if entry.gone and len(paths) > len(late) and not crash and present:
            raise Violation("I6", f"{token} was removed and is still there: {paths}")
        unsure = entry.loose or entry.second_names
        if entry.places is not None and present and not unsure and (promised or not crash):
            wrong = [path for path in paths if place(path) not in entry.places]
            if set(wrong) - set(late) or (wrong == paths != [] and not entry.removed):
                raise Violation("I6", f"{wrong[-1]} is none of {sorted(entry.places)}")


def visible(path: str) -> bool:
    """Report whether a path is a message in new/ or cur/ of a Maildir; dot names are not."""
    return path.rpartition("/")[0].endswith(("/new", "/cur")) and "/." not in path


def place(path: str) -> tuple[str, str]:
    """Return the Maildir that holds a message, and its flags."""
    above, _, name = path.rpartition("/")
    flags = name.partition("2,")[2] if "2," in name[-12:] else ""
    return above.rpartition("/")[0], flags
