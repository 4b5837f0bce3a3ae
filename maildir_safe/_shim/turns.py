"""Who may be answered now: a limit of calls for each user, and one call at a time for each thread."""

from __future__ import annotations

from threading import Lock

MOST_OF_A_USER = 128
"""Most calls in progress per user other than the supervisor's own. Further calls are left to the kernel, so
that no user can delay others: a user can make even reading his memory hang."""


class Turns:
    """All calls in progress. Used by many threads at once.

    Args:
        exempt: the user without a limit.
    """

    def __init__(self, exempt: int) -> None:
        self._exempt = exempt
        self._lock = Lock()
        self._in_hand: dict[int, int] = {}
        self._threads: dict[int, list[Lock]] = {}

    def enter(self, tid: int, user: int) -> Lock | None:
        """Begin a call, and `leave` afterwards, whatever the result.

        Args:
            tid: the thread that makes the call.
            user: its user.

        Returns:
            What to hold meanwhile: after a signal a thread may ask again before it is answered. None: the
            user has too many calls in progress.
        """
        with self._lock:
            in_hand = self._in_hand[user] = self._in_hand.get(user, 0) + 1
            turns = self._threads.get(tid)
            if turns is None:
                self._threads[tid] = turns = [Lock()]
            else:
                turns.append(turns[0])  # one entry for each call
        return turns[0] if in_hand <= MOST_OF_A_USER or user == self._exempt else None

    def leave(self, tid: int, user: int) -> None:
        """End a call."""
        with self._lock:
            self._in_hand[user] -= 1
            if not self._in_hand[user]:
                del self._in_hand[user]
            turns = self._threads[tid]
            turns.pop()
            if not turns:
                del self._threads[tid]
