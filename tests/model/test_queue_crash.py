"""Power fails at any file call, and any subset of what was not durable survives.

From every distinct state that is found afterwards new hosts work the queue until it is empty. Nothing
that was accepted is lost, nothing that was reported done comes again, nothing is delivered twice.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maildir_safe.errors import MaildirSafeError
from maildir_safe.testing.simdisk import Mode
from maildir_safe.testing.simserver import Call, SimServer
from tests.model.queue_world import Actor, Ledger, new_server, reckon
from tests.model.test_queue_faults import HISTORIES, History

MOST_OUTCOMES = 512
"""Of one crash; more than that are cut, and the number of such crash points is printed."""


MOST_WEAK = 40
"""States looked at where nothing is promised, evenly over those that were found."""


class Crashes:
    """Crashes a server after each call, in every way, and collects what is then found."""

    def __init__(self, server: SimServer, ledger: Ledger) -> None:
        self.server = server
        self.ledger = ledger
        self.points = 0
        self.cut = 0
        self.found: dict[object, tuple[SimServer, Ledger]] = {}

    def look(self, _: Call) -> None:
        self.points += 1
        for number, choice in enumerate(self.server.disk.choices()):
            if number == MOST_OUTCOMES:
                self.cut += 1
                break
            server = self.server.crashed(choice)
            promises = tuple((token, e.put, e.end) for token, e in self.ledger.entries.items())
            state = (promises, tuple(sorted(server.files().items())), tuple(sorted(directories(server))))
            self.found.setdefault(state, (server, self.ledger.copy()))


def directories(server: SimServer) -> list[str]:
    return [f"{node.ino}/{name}" for node in server.disk.nodes.values() for name in node.entries]


def crashed_anywhere(history: History, mode: Mode) -> Crashes:
    """All that may be found after a crash at any call of a history."""
    server = new_server("local", mode)
    actor = Actor(server, Ledger(), "a")
    crashes = Crashes(server, actor.ledger)
    server.after_call = crashes.look
    history(actor)
    server.after_call = None
    assert crashes.points > 50
    return crashes


def check(history: History, mode: Mode) -> str:
    """Reckon with every state that a crash may leave; the figures."""
    crashes = crashed_anywhere(history, mode)
    for after, ledger in crashes.found.values():
        try:
            reckon(after, ledger)
        except AssertionError as error:
            calls = "\n".join(map(str, [c for c in after.history if c.kind != "listdir"][-150:]))
            raise AssertionError(f"{error}\n{calls}") from None
    return f"{crashes.points} crash points, {len(crashes.found)} distinct states, {crashes.cut} cut"


@pytest.mark.parametrize("mode", ["atomic", "ordered"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_crash_anywhere(
    history: History, mode: Mode, record_property: Callable[[str, object], None]
) -> None:
    record_property("note", f"queue    {history.__name__:<24} {mode:<8} {check(history, mode)}, 0 violations")


@pytest.mark.parametrize("history", HISTORIES)
def test_what_a_medium_without_a_journal_can_cost(
    history: History, record_property: Callable[[str, object], None]
) -> None:
    """Nothing is promised there (ARCHITECTURE.md, "Assumptions about the medium"): it is counted."""
    states = list(crashed_anywhere(history, "weak").found.values())
    looked_at = states[:: max(1, len(states) // MOST_WEAK)]
    broken = 0
    for after, ledger in looked_at:
        try:
            reckon(after, ledger)
        except (AssertionError, MaildirSafeError):
            broken += 1
    assert broken < len(looked_at)  # a crash before anything was accepted costs nothing on any medium
    figures = f"{broken} of {len(looked_at)} looked at, of {len(states)} distinct states, break a promise"
    record_property("note", f"queue    {history.__name__:<24} weak     {figures}")
