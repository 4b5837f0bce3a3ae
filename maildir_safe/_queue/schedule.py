"""When to retry, and when to give up. Pure: no clock and no file is used here."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_TRIES = 10_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Waits that double, with jitter, so that items that failed together are not retried together.

    Attributes:
        first: seconds before the second attempt.
        longest: most seconds of a wait, before jitter.
        give_up: seconds of attempts after which the next failure is final
            (RFC 5321 section 4.5.4.1 asks for 4 to 5 days).
        jitter: the random share of a wait: 0.2 makes 60 s into 54 to 66 s.
    """

    first: float = 60.0
    longest: float = 4 * 3600.0
    give_up: float = 5 * 86400.0
    jitter: float = 0.2

    def delay(self, tries: int, chance: float) -> float:
        """Seconds to wait.

        Args:
            tries: how many attempts have failed, including the latest: 1 and up.
            chance: a random number between 0 and 1, uniformly distributed.
        """
        return self._wait(tries) * (1 + self.jitter * (chance - 0.5))

    def _wait(self, tries: int) -> float:
        doublings = min(max(tries, 1) - 1, 32)
        return float(min(self.first * 2.0**doublings, self.longest))

    def is_over(self, tries: int, arrived: float, now: float, times: int = 1) -> bool:
        """Whether an item that fails now is given up.

        The clock of the host that put it and the clock of this host may be days apart. So the difference of
        the times is not enough: the item must also have had as many attempts as fit into that time. With
        twice as many attempts, the clocks do not matter.

        Args:
            tries: how many attempts have failed, including the latest.
            arrived: when it was put, in seconds since 1970 by the putter's clock.
            now: seconds since 1970 by this host's clock.
            times: how many times `give_up` must have passed.
        """
        long = times * self.give_up
        least = self._tries_within(long)
        waits = min(self.first, self.longest) > 0  # without waits only the clock can tell
        return tries >= least and (now - arrived >= long or (waits and tries >= 2 * least))

    def _tries_within(self, seconds: float) -> int:
        """The fewest attempts made in that many seconds, if every wait has the longest jitter."""
        tries, elapsed = 1, 0.0
        while elapsed < seconds and tries < _MOST_TRIES:
            wait = self._wait(tries) * (1 + self.jitter / 2)
            if wait <= 0:
                break
            if wait >= self.longest:  # all further waits are equal
                return min(tries + int((seconds - elapsed) / wait) + 1, _MOST_TRIES)
            elapsed += wait
            tries += 1
        return tries
