"""Random refusals that a program sets while the server runs, as Mailpit's chaos has them.

They are faults with a reply and a chance, at three stages. They happen besides the scripted ones, which
come first, and stay as they are when SIGHUP reads the script again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maildir_safe._smtp.faults.faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = {"Sender": "mail", "Recipient": "rcpt", "Authentication": "auth"}
"""The stage of each trigger, by its name."""
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
    """

    def __init__(self) -> None:
        self.triggers = {name: Trigger(code) for name, code in _USUAL_CODES.items()}
        self.faults: Faults | None = None

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
