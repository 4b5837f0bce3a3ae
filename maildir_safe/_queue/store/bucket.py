"""Buckets: the directories in pending/, so that no listing grows with the queue. Pure.

    <period>.<shard>.<seq>        now.mx1-3fa2b1c0.12        1763856000h.mx1-3fa2b1c0.13

A period is ``now``, which needs no clock, or a start in seconds since 1970 and a width: a minute, an hour
or a day. The further ahead a period is, the wider, so that the whole future needs few buckets. When the
time of a wide bucket comes, its items are moved into narrower ones. A shard is one writing process, which
therefore knows the state of its buckets. A `seq` is never used twice.
"""

from __future__ import annotations

NOW = "now"
LIMIT = 2000
"""Entries after which a writer begins a new bucket (Coda and AFS hold some 4,000 per directory)."""

_WIDTHS = {"m": 60, "h": 3600, "d": 86400}
_HOUR_AHEAD = 3600
_TWO_DAYS_AHEAD = 2 * 86400


class Bucket:
    """The parsed name of a bucket.

    Attributes:
        period, shard, seq: its parts, as above.
    """

    __slots__ = ("period", "seq", "shard")

    def __init__(self, period: str, shard: str, seq: int) -> None:
        self.period = period
        self.shard = shard
        self.seq = seq

    def __lt__(self, other: Bucket) -> bool:
        """The order of a pass: by period, by shard, and from the oldest to the newest."""
        return (self.period, self.shard, self.seq) < (other.period, other.shard, other.seq)

    @property
    def name(self) -> str:
        """The directory's name."""
        return f"{self.period}.{self.shard}.{self.seq}"

    @property
    def start(self) -> int:
        """When its period begins, in seconds since 1970; 0 for ``now``."""
        return 0 if self.period == NOW else int(self.period[:-1])


def period(not_before: int, now: float) -> str:
    """The period that an item belongs to.

    Args:
        not_before: when the item is due, in seconds since 1970.
        now: the wall clock's time, in seconds since 1970.
    """
    ahead = not_before - now
    if ahead <= 0:
        return NOW
    letter = "m" if ahead < _HOUR_AHEAD else "h" if ahead < _TWO_DAYS_AHEAD else "d"
    return f"{not_before - not_before % _WIDTHS[letter]}{letter}"


def parse(name: str) -> Bucket | None:
    """The bucket with this name; None if it is not a bucket's name."""
    when, _, rest = name.partition(".")
    shard, _, seq = rest.rpartition(".")
    good = when == NOW or (when[:-1].isdecimal() and when[-1:] in _WIDTHS)
    if not (good and shard and seq.isdecimal() and name.isascii()):
        return None
    return Bucket(when, shard, int(seq))
