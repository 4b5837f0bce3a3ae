"""From a recorded log to the states a crash may leave: which blocks are on the disk, who was acknowledged.

The model is a disk with a volatile cache: what was written before the last completed flush is
there; of what was written after it, all, nothing, or a random half. Blocks of 4096 bytes are
written whole.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from disk_recorder import FLUSH, WRITE, Record

BLOCK = 4096
READY = b"ready"

Image = dict[int, bytes]
"""A disk: block number -> contents; blocks that are absent are zero."""


class State(NamedTuple):
    """What a crash left behind: the disk, and the messages that had been acknowledged by then."""

    kind: str
    position: int
    image: Image
    acknowledged: frozenset[int]

    def key(self) -> int:
        """Equal for equal disks and acknowledgements."""
        return hash((frozenset(self.image.items()), self.acknowledged))


def load_image(path: Path) -> Image:
    """A disk image file, holes skipped."""
    image: Image = {}
    fd = os.open(path, os.O_RDONLY)
    try:
        end = os.fstat(fd).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(fd, position, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:  # ENXIO: nothing but a hole up to the end
                break
            hole = os.lseek(fd, position, os.SEEK_HOLE)
            for offset in range(position, hole, BLOCK):
                _put(image, offset, os.pread(fd, BLOCK, offset))
            position = hole
    finally:
        os.close(fd)
    return image


def save_image(image: Image, path: Path, size: int) -> None:
    """Write a disk image file, with holes for zeros; an existing one is replaced."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, size)
        for number, data in image.items():
            os.pwrite(fd, data, number * BLOCK)
    finally:
        os.close(fd)


def crash_states(base: Image, log: Iterable[Record], seed: int) -> Iterator[State]:
    """Every distinct state that a crash after the mark `READY` may leave; one random half a position.

    Positions between two writes differ at most in what was acknowledged, so the last of them
    stands for all; so does the last before a flush for what the flush had not reached.
    """
    seen = set()
    for state in _all_states(base, log, random.Random(seed)):
        if state.key() not in seen:
            seen.add(state.key())
            yield state


def _all_states(base: Image, log: Iterable[Record], rng: random.Random) -> Iterator[State]:
    flushed, pending = dict(base), Image()
    acknowledged: set[int] | None = None
    end = Record(FLUSH, 0, b"")
    for position, record in enumerate([*log, end]):
        if acknowledged is not None and record.kind in (WRITE, FLUSH):
            yield from _states_at(position, record.kind, flushed, pending, frozenset(acknowledged), rng)
        if record.kind == WRITE:
            for start in range(0, len(record.data), BLOCK):
                _keep(pending, record.offset + start, record.data[start : start + BLOCK])
        elif record.kind == FLUSH:
            _apply(flushed, pending)
            pending = {}
        elif record.data == READY:
            acknowledged = set()
        elif acknowledged is not None:
            acknowledged.update(int(number) for number in record.data.split())


def _states_at(
    position: int,
    before: bytes,
    flushed: Image,
    pending: Image,
    acknowledged: frozenset[int],
    rng: random.Random,
) -> Iterator[State]:
    yield State("all written", position, _applied(flushed, pending), acknowledged)
    if before == FLUSH:
        yield State("flushed only", position, dict(flushed), acknowledged)
    if len(pending) > 1:
        half = {number: data for number, data in pending.items() if rng.random() < 0.5}
        yield State("random half", position, _applied(flushed, half), acknowledged)


def _applied(image: Image, writes: Image) -> Image:
    result = dict(image)
    _apply(result, writes)
    return result


def _apply(image: Image, writes: Image) -> None:
    for number, data in writes.items():
        _put(image, number * BLOCK, data)


def _keep(pending: Image, offset: int, data: bytes) -> None:
    if offset % BLOCK or len(data) != BLOCK:
        raise ValueError(f"a write of {len(data)} bytes at {offset} is not made of whole blocks")
    pending[offset // BLOCK] = data


def _put(image: Image, offset: int, data: bytes) -> None:
    data = data.ljust(BLOCK, b"\0")
    if data.count(0) == BLOCK:
        image.pop(offset // BLOCK, None)
    else:
        image[offset // BLOCK] = data
