"""What goes wrong besides the script: faults that are added while the server runs, and random refusals.

The random refusals are Mailpit's chaos: faults with a reply and a chance, at three stages. The script comes
first, then what was added, then chaos. Both stay as they are when SIGHUP reads the script again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maildir_safe._smtp.faults.faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STAGES = {"Sender": "mail", "Recipient": "rcpt", "Authentication": "auth"}
"""The stage of each trigger, by its name."""
MOST_ADDED = 100
"""Most faults that are added while the server runs."""
_LONGEST = 3600.0
_USUAL_CODES = {"Sender": 451, "Recipient": 451, "Authentication": 535}


@dataclass(frozen=True)
class Trigger:
    """How often a command is refused, and how.

    Attributes:
        code: the reply's code, 400 to 599.
        percent: how many of a hundred are refused, 0 to 100.
    """

    code: int
    percent: int = 0


class Chaos:
    """The triggers and the faults made from them. Thread-safe: `faults` is replaced as a whole.

    Attributes:
        triggers: the trigger of each name in `STAGES`.
        faults: what connections play; None: every trigger has 0 percent.
        added: the faults that were added, by number.
        live: what connections play of them; None: there are none.
    """

    def __init__(self) -> None:
        self.triggers = {name: Trigger(code) for name, code in _USUAL_CODES.items()}
        self.faults: Faults | None = None
        self.added: dict[int, Fault] = {}
        self.live: Faults | None = None
        self._last = 0

    def add(self, fields: Mapping[str, Any]) -> int:
        """Add a fault of the dialogue, and return its number.

        Args:
            fields: those of `Fault` that have a stage.

        Raises:
            ValueError: they contradict each other or are out of range, or there are too many faults.
        """
        if len(self.added) >= MOST_ADDED:
            raise ValueError(f"there are {MOST_ADDED} faults already; remove some")
        for name, most in (("delay", _LONGEST), ("greylist", _LONGEST), ("chance", 1.0)):
            if not 0 <= fields.get(name, 0) <= most:  # not a number is out of range too
                raise ValueError(f"{name}: must be a number from 0 to {most:g}")
        for name in ("nth", "times"):
            if not 1 <= fields.get(name, 1) <= 10**6:
                raise ValueError(f"{name}: must be a whole number from 1 to 1000000")
        for name in ("reply", "match", "rate"):
            if len(fields.get(name, "")) > 200:
                raise ValueError(f"{name}: longer than 200 characters")
        fault = Fault(**fields)
        if not (fault.reply or fault.delay or fault.drop):
            raise ValueError("a fault does something: reply, delay, drop, greylist or rate")
        self._last += 1
        self._play({**self.added, self._last: fault})
        return self._last

    def remove(self, number: int) -> bool:
        """Remove an added fault; False if there is none with this number."""
        left = {one: fault for one, fault in self.added.items() if one != number}
        found = len(left) < len(self.added)
        self._play(left)
        return found

    def remove_all(self) -> None:
        """Remove all added faults."""
        self._play({})

    def at(self, stage: str, nth: int, addresses: tuple[str, ...], key: tuple[str, ...]) -> Fault | None:
        """The fault that happens now, or None; see `Faults.at`."""
        live, random = self.live, self.faults
        fault = live.at(stage, nth, addresses, key) if live else None
        return fault or (random.at(stage) if random else None)

    def _play(self, added: dict[int, Fault]) -> None:
        self.added = added
        self.live = Faults([*added.values()], seed=self._last) if added else None

    def set(self, triggers: Mapping[str, Trigger]) -> None:
        """Replace all triggers. Those that are not named get their usual code, and 0 percent.

        Args:
            triggers: triggers by name, within their bounds.
        """
        found = {name: triggers.get(name, Trigger(code)) for name, code in _USUAL_CODES.items()}
        faults = [_fault(name, trigger) for name, trigger in found.items() if trigger.percent]
        self.triggers, self.faults = found, Faults(faults) if faults else None


def usual_code(name: str) -> int:
    """The code of a trigger that is given without one."""
    return _USUAL_CODES[name]


def _fault(name: str, trigger: Trigger) -> Fault:
    reply = f"{trigger.code} {trigger.code // 100}.0.0 Chaos {name.lower()} error"
    return Fault(stage=STAGES[name], reply=reply, chance=trigger.percent / 100)
