"""Scripted faults, for testing how a sender reacts: seeded, counted, and the same in every run.

Faults of the dialogue happen at a `stage`:

* ``connect``: before the greeting;
* ``auth``: instead of the positive reply to a password;
* ``mail``, ``rcpt``, ``data``: instead of the positive reply to that command;
* ``received``: the whole message has arrived, and is not stored;
* ``stored``: the message is stored, and the client has no reply yet.

A fault may answer with a `reply`, wait for `delay` seconds, or `drop` the connection. So a late 250
is ``stored`` with a delay, and a lost reply is ``stored`` with a drop: the sender must send again.

Storage faults happen at a file `call` of a delivery (create, write, fsync, close, rename): the call
fails with an `error`, or waits. With `executed` the call is executed and still reports the error,
as on NFS when a reply is lost.
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

STAGES = ("connect", "auth", "mail", "rcpt", "data", "received", "stored")
CALLS = ("create", "write", "fsync", "close", "rename")
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


@dataclass
class Fault:
    """One fault, and when it happens.

    Attributes:
        stage: one of `STAGES`; or
        call: one of `CALLS`. ``fsync`` includes the syncfs that a batch of deliveries shares.
        reply: a complete reply line, for example ``"452 4.2.2 Mailbox full"``.
        delay: seconds to wait first.
        drop: hang up instead of answering.
        match: only for addresses that match this pattern (``*@slow.example``): the user at auth, the
            sender at mail, the recipient at rcpt, any recipient at data, received and stored.
        nth: only the n-th time in a connection (the third RCPT), counted from 1.
        times: at most this many times; None: always.
        chance: only with this probability, drawn from the seed.
        greylist: refuse a combination of peer, sender and recipient for this many seconds after it
            was first seen.
        rate: accept this many per unit of time and refuse the rest: ``"10/minute"``.
        error: name of the errno that the file call fails with: ``"ENOSPC"``, ``"EIO"``.
        executed: execute the failing call anyway.

    Raises:
        ValueError: the fields contradict each other; the text says which.
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
            raise ValueError(f"error={self.error!r}: must be the name of an errno, and needs a call")
        if self.executed and (not self.error or self.call == "create"):
            raise ValueError("executed needs an error, which the executed call reports (not for create)")
        if self.greylist is not None or self.rate:
            self.reply = self.reply or "450 4.7.1 Come back later"
        if self.greylist is not None and self.stage != "rcpt":
            raise ValueError("greylist needs stage rcpt")
        if self.reply and not re.fullmatch(r"[245]\d\d [ -~]+", self.reply):
            raise ValueError(f"reply={self.reply!r}: must be three digits, a space and a text")
        self._limit, self._window = _rate(self.rate) if self.rate else (0, 0.0)

    @property
    def told(self) -> str:
        """What it does, for people."""
        wait = [f"wait {self.delay:g} s"] if self.delay else []
        end = ["hang up"] if self.drop else [f"answer {self.reply}"] if self.reply else []
        return ", ".join(wait + end) or "nothing"

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
        raise ValueError(f"rate={text!r}: must be like 10/minute; units are {', '.join(_SECONDS)}")
    return int(number), _SECONDS[unit]


class Faults:
    """The script. Thread-safe: file calls run in threads.

    Args:
        faults: the faults in order; the first that applies happens.
        seed: seed of the faults with a chance.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, faults: list[Fault] | None = None, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._faults = list(faults or [])
        self._random = random.Random(seed)
        self._clock = clock
        self._lock = threading.Lock()
        self.fired: Counter[str] = Counter()
        """Number of faults that happened, by stage or call."""

    @classmethod
    def read(cls, path: str) -> Faults:
        """Read a TOML file: ``seed = 1``, then tables ``[[fault]]`` with the fields of `Fault`.

        Raises:
            ValueError: the file is not TOML, or a fault is invalid. OSError: the file cannot be read.
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

    @property
    def listed(self) -> list[Fault]:
        """The faults, in order."""
        with self._lock:
            return list(self._faults)

    def add(self, **fault: Any) -> None:
        """Add a fault, with the fields of `Fault`. Raises ValueError."""
        with self._lock:
            self._faults.append(Fault(**fault))

    def clear(self) -> None:
        """Remove all faults: from now on everything works."""
        with self._lock:
            self._faults.clear()

    def at(
        self, place: str, nth: int = 1, addresses: tuple[str, ...] = (), key: tuple[str, ...] = ()
    ) -> Fault | None:
        """The fault that happens now, or None.

        Args:
            place: a stage or a call.
            nth: number of times that this connection has reached `place`, this time included.
            addresses: the addresses for `Fault.match`; without any, every fault matches.
            key: the combination that greylisting keeps apart.
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
