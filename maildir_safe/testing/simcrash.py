"""The outcomes of a crash: which changes of names are kept, and what unsynced files contain."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Mode = Literal["ordered", "atomic", "logged", "weak"]
Name = tuple[int, str]
Fate = frozenset[tuple[Name, int | None]]


@dataclass(frozen=True, slots=True)
class Change:
    """Entries that a crash keeps or loses together.

    `effects`: (directory, name, what it names, or None if it was removed); `needs`: the
    numbers of the earlier changes without which this one is never kept.
    """

    number: int
    effects: tuple[tuple[int, str, int | None], ...]
    needs: frozenset[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome of one crash: the numbers of the kept `Change`s, and the contents of each unsynced file.

    `names` is what comes of it: two choices with equal names and contents are one outcome.
    """

    kept: frozenset[int] = frozenset()
    contents: tuple[tuple[int, bytes], ...] = ()
    names: frozenset[tuple[tuple[int, str], int]] = frozenset()


def outcomes(
    pending: list[Change], stable: Mapping[Name, int], unsynced: Mapping[int, list[bytes]]
) -> Iterator[Choice]:
    """Return every outcome that a crash may have, each once.

    Args:
        pending: changes that are not durable, in order.
        stable: names that are durable -> what they name.
        unsynced: files whose contents are not durable -> what a crash may leave in them.
    """
    fates = [list(_fates(group).items()) for group in _groups(pending)]
    for fate in itertools.product(*fates):
        entries = dict(stable)
        for effects, _ in fate:
            for name, ino in effects:
                if ino is None:
                    entries.pop(name, None)
                else:
                    entries[name] = ino
        names = frozenset(entries.items())
        kept = frozenset(number for _, numbers in fate for number in numbers)
        dirty = sorted({ino for ino in entries.values() if ino in unsynced}) if unsynced else []
        for contents in itertools.product(*(unsynced[ino] for ino in dirty)):
            yield Choice(kept, tuple(zip(dirty, contents, strict=True)), names)


def contents_after(
    mode: Mode, durable: bytes, written: bytes, chunks: list[tuple[int, bytes]]
) -> list[bytes]:
    """Return the contents that a file may have after a crash.

    Args:
        durable, written: its contents as of the last fsync, and now.
        chunks: the writes between, as offset and data; under ``weak`` each has its own fate.
    """
    if mode != "weak":
        torn = (len(durable) + len(written)) // 2
        return list(dict.fromkeys((durable, written[:torn], written)))
    found = {durable}
    for offset, data in chunks:
        half = len(data) // 2
        fates = (data, data[:half] + bytes(len(data) - half), bytes(len(data)))
        found |= {patched(before, offset, kept) for before in found for kept in fates}
    return sorted(found)


def patched(old: bytes, offset: int, data: bytes) -> bytes:
    """Return `old` with `data` written at `offset`; a gap reads as zeros."""
    return old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]


def _groups(pending: list[Change]) -> list[list[Change]]:
    """Group the changes that depend on each other or share a name; groups are independent."""
    groups: list[tuple[set[object], list[Change]]] = []
    for change in pending:
        marks: set[object] = {change.number, *change.needs, *((p, n) for p, n, _ in change.effects)}
        joined = [change]
        for group in [group for group in groups if group[0] & marks]:
            groups.remove(group)
            marks |= group[0]
            joined = group[1] + joined
        groups.append((marks, joined))
    return [sorted(changes, key=lambda change: change.number) for _, changes in groups]


def _fates(group: list[Change]) -> dict[Fate, frozenset[int]]:
    """Return each possible outcome of a group in a crash, with one way to reach it."""
    here = frozenset(change.number for change in group)
    ways: list[tuple[frozenset[int], dict[Name, int | None]]] = [(frozenset(), {})]
    for change in group:
        effects = {(parent, name): ino for parent, name, ino in change.effects}
        ways += [
            (kept | {change.number}, before | effects) for kept, before in ways if change.needs & here <= kept
        ]
    return {frozenset(effects.items()): kept for kept, effects in reversed(ways)}
