"""When to try again, and when to give up. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Waits that double, with jitter, so that items that failed together do not come back together.

    Attributes:
        first: seconds before the second try.
        longest: seconds that a wait never exceeds (before jitter).
        give_up: seconds after the arrival of an item when the next failure is the last
            (RFC 5321 section 4.5.4.1 asks for 4 to 5 days).
        jitter: the share of a wait that is left to chance: 0.2 makes 60 s into 54 to 66 s.
    """

    first: float = 60.0
    longest: float = 4 * 3600.0
    give_up: float = 5 * 86400.0
    jitter: float = 0.2

    def delay(self, tries: int, chance: float) -> float:
        """Seconds to wait.

        Args:
            tries: how many tries have failed, the one just now included: 1 and up.
            chance: between 0 and 1, evenly distributed.
        """
        doublings = min(max(tries, 1) - 1, 32)
        wait = min(self.first * 2.0**doublings, self.longest)
        return wait * (1 + self.jitter * (chance - 0.5))

    def is_over(self, arrived: float, now: float) -> bool:
        """Whether an item that arrived then (seconds since 1970) is given up when it fails now."""
        return now - arrived >= self.give_up
