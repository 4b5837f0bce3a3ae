"""Power fails at any file call, and any subset of what was not durable survives.

From every distinct state that is found afterwards new hosts work the queue until it is empty. Nothing
that was accepted is lost, nothing that was reported done comes again, nothing is delivered twice.
"""

from __future__ import annotations

import pytest

from maildir_safe.testing.simdisk import Mode
from maildir_safe.testing.simserver import Call, SimServer
from tests.model.queue_world import Actor, Ledger, new_server, reckon
from tests.model.test_queue_faults import HISTORIES, History

MOST_OUTCOMES = 512
"""Of one crash; more than that are cut, and the number of such crash points is printed."""


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


@pytest.mark.parametrize("mode", ["atomic", "ordered"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_crash_anywhere(history: History, mode: Mode) -> None:
    server = new_server("local", mode)
    actor = Actor(server, Ledger(), "a")
    crashes = Crashes(server, actor.ledger)
    server.after_call = crashes.look
    history(actor)
    server.after_call = None
    for after, ledger in crashes.found.values():
        try:
            reckon(after, ledger)
        except AssertionError as error:
            calls = "\n".join(map(str, [c for c in after.history if c.kind != "listdir"][-150:]))
            raise AssertionError(f"{error}\n{calls}") from None
    assert crashes.points > 50
    figures = f"{crashes.points} crash points, {len(crashes.found)} states, {crashes.cut} cut"
    print(f"{history.__name__}, {mode}: {figures}")
