"""Scripted faults, to see what a sender does: seeded, counted, the same at every run.

Faults of the dialogue happen at a `stage`:

* ``connect``: before the greeting;
* ``mail``, ``rcpt``, ``data``: instead of the good answer to that command;
* ``received``: the whole message is here, and is not stored;
* ``stored``: the message is stored, and the client does not know yet.

Each may answer with a `reply`, wait for `delay` seconds, or `drop` the connection. So "250 late" is
``stored`` with a delay, and "the answer is lost" ``stored`` with a drop: the sender must send again.

Faults of the storage happen at a file `call` of a delivery (create, write, fsync, close, rename):
it fails with an `error`, or waits. With `executed` the call is done and the error reported all the
same, as NFS does when a reply is lost.
"""

from __future__ import annotations

import errno
import fnmatch
import random
import re
import threading
import time
import tomllib
from collections import Counter, deque
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STAGES = ("connect", "mail", "rcpt", "data", "received", "stored")
CALLS = ("create", "write", "fsync", "close", "rename")
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


@dataclass
class Fault:
    """One fault, and when it happens.

    Attributes:
        stage: one of `STAGES`; or
        call: one of `CALLS`. ``fsync`` is also the one that a group of deliveries shares.
        reply: a complete reply line, for example ``"452 4.2.2 Mailbox full"``.
        delay: seconds to wait first.
        drop: hang up instead of answering.
        match: only for addresses like this (``*@slow.example``): the sender at mail, the recipient
            at rcpt, any recipient at data, received and stored.
        nth: only the n-th time in a connection (the third RCPT), counted from 1.
        times: at most so often; None for always.
        chance: only with this probability, from the seed.
        greylist: refuse a peer, sender and recipient until so many seconds after they first came.
        rate: let so many pass in a time and refuse the rest: ``"10/minute"``.
        error: name of the errno a file call fails with: ``"ENOSPC"``, ``"EIO"``.
        executed: the failing call is done nevertheless.

    Raises:
        ValueError: fields that do not go together; says which.
    """

    stage: str = ""
    call: str = ""
    reply: str = ""
    delay: float = 0.0
    drop: bool = False
    match: str = "*"
    nth: int | None = None
    times: int | None = None
    chance: float = 1.0
    greylist: float | None = None
    rate: str = ""
    error: str = ""
    executed: bool = False
    _first: dict[tuple[str, ...], float] = field(default_factory=dict, repr=False)
    _passed: deque[float] = field(default_factory=deque, repr=False)

    def __post_init__(self) -> None:
        if (self.stage in STAGES) == (self.call in CALLS):
            raise ValueError(f"a fault has a stage ({', '.join(STAGES)}) or a call ({', '.join(CALLS)})")
        if self.call and (self.reply or self.drop or self.greylist or self.rate or self.nth):
            raise ValueError("a fault of a file call has error, executed, delay, times and chance only")
        if self.error and (self.stage or not hasattr(errno, self.error)):
            raise ValueError(f"error={self.error!r}: the name of an errno, for a file call")
        if self.executed and (not self.error or self.call == "create"):
            raise ValueError("executed goes with an error, which is reported for the call that was done")
        if self.greylist is not None or self.rate:
            self.reply = self.reply or "450 4.7.1 Come back later"
        if self.greylist is not None and self.stage != "rcpt":
            raise ValueError("greylist is for stage rcpt")
        if self.reply and not re.fullmatch(r"[245]\d\d [ -~]+", self.reply):
            raise ValueError(f"reply={self.reply!r}: three digits, a space and a text")
        self._limit, self._window = _rate(self.rate) if self.rate else (0, 0.0)

    def holds_back(self, key: tuple[str, ...], now: float) -> bool:
        """Whether greylist and rate, where set, refuse `key` at `now` (seconds)."""
        if self.greylist is not None:
            return now - self._first.setdefault(key, now) < self.greylist
        if not self._limit:
            return True
        while self._passed and now - self._passed[0] >= self._window:
            self._passed.popleft()
        if len(self._passed) >= self._limit:
            return True
        self._passed.append(now)
        return False


def _rate(text: str) -> tuple[int, float]:
    number, _, unit = text.partition("/")
    if not number.isdigit() or unit not in _SECONDS or int(number) < 1:
        raise ValueError(f"rate={text!r}: for example 10/minute; units are {', '.join(_SECONDS)}")
    return int(number), _SECONDS[unit]


class Faults:
    """The script. Thread-safe: file calls run in threads.

    Args:
        faults: in order; the first that applies happens.
        seed: for those with a chance.
        clock: seconds that never jump.
    """

    def __init__(
        self, faults: list[Fault] | None = None, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._faults = list(faults or [])
        self._random = random.Random(seed)
        self._clock = clock
        self._lock = threading.Lock()
        self.fired: Counter[str] = Counter()
        """How often a fault happened, by stage or call."""

    @classmethod
    def read(cls, path: str) -> Faults:
        """From a TOML file: ``seed = 1``, then tables ``[[fault]]`` with the fields of `Fault`.

        Raises:
            ValueError: not TOML, or a fault that cannot be. OSError: it cannot be read.
        """
        with open(path, "rb") as file:
            try:
                script = tomllib.load(file)
            except tomllib.TOMLDecodeError as error:
                raise ValueError(f"{path}: {error}") from None
        unknown = sorted(script.keys() - {"seed", "fault"})
        if unknown:
            raise ValueError(f"{path}: no such setting: {', '.join(unknown)}")
        return cls([_fault(path, table) for table in script.get("fault", [])], script.get("seed", 0))

    def add(self, **fault: Any) -> None:
        """Add a fault, with the fields of `Fault`. Raises ValueError."""
        with self._lock:
            self._faults.append(Fault(**fault))

    def clear(self) -> None:
        """Forget all faults: from now on everything works."""
        with self._lock:
            self._faults.clear()

    def at(
        self, place: str, nth: int = 1, addresses: tuple[str, ...] = (), key: tuple[str, ...] = ()
    ) -> Fault | None:
        """The fault that happens now, or None.

        Args:
            place: a stage or a call.
            nth: how often this connection has come here, this time included.
            addresses: those that `Fault.match` is about; none match any.
            key: what greylisting tells apart.
        """
        with self._lock:
            for fault in self._faults:
                if place not in (fault.stage, fault.call) or fault.times == 0 or fault.nth not in (None, nth):
                    continue
                if addresses and not any(fnmatch.fnmatchcase(address, fault.match) for address in addresses):
                    continue
                if fault.chance < 1 and self._random.random() >= fault.chance:
                    continue
                if not fault.holds_back(key, self._clock()):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                self.fired[place] += 1
                return fault
        return None


def _fault(path: str, table: dict[str, Any]) -> Fault:
    known = [field.name for field in fields(Fault) if not field.name.startswith("_")]
    unknown = sorted(table.keys() - set(known))
    if unknown:
        raise ValueError(f"{path}: a fault has no {', '.join(unknown)}; it has {', '.join(known)}")
    try:
        return Fault(**table)
    except ValueError as error:
        raise ValueError(f"{path}: {table}: {error}") from None
    except TypeError:  # a string where a number belongs, or the like
        raise ValueError(f"{path}: {table}: a value of the wrong kind") from None
