"""When to try again, and when to give up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_TRIES = 10_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Waits that double, with jitter, so that items that failed together do not come back together.

    Attributes:
        first: seconds before the second try.
        longest: seconds that a wait never exceeds (before jitter).
        give_up: seconds for which an item is tried before the next failure is the last
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
        return self._wait(tries) * (1 + self.jitter * (chance - 0.5))

    def _wait(self, tries: int) -> float:
        doublings = min(max(tries, 1) - 1, 32)
        return float(min(self.first * 2.0**doublings, self.longest))

    def is_over(self, tries: int, arrived: float, now: float, times: int = 1) -> bool:
        """Whether an item is given up when it fails now.

        The clock of the host that put it and the clock of this one may be days apart, so that no
        difference of times is enough: the item must also have been tried as often as it is in that time.
        If it was tried twice as often, the clocks are not asked.

        Args:
            tries: how many tries have failed, the one just now included.
            arrived: when it was put, in seconds since 1970 by the putter's clock.
            now: seconds since 1970 by this host's clock.
            times: how often `give_up` must have passed.
        """
        long = times * self.give_up
        least = self._tries_within(long)
        waits = min(self.first, self.longest) > 0  # else tries take no time, and only the clock can tell
        return tries >= least and (now - arrived >= long or (waits and tries >= 2 * least))

    def _tries_within(self, seconds: float) -> int:
        """The tries that an item has had when it was tried for so long, at the latest times by jitter."""
        tries, elapsed = 1, 0.0
        while elapsed < seconds and tries < _MOST_TRIES:
            wait = self._wait(tries) * (1 + self.jitter / 2)
            if wait <= 0:
                break
            if wait >= self.longest:  # from here on all are alike
                return min(tries + int((seconds - elapsed) / wait) + 1, _MOST_TRIES)
            elapsed += wait
            tries += 1
        return tries
