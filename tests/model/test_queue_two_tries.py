"""Two tries of one put, with one delivery id, at the same time: one item, wherever either stands still.

A client gives up on a host that stands still, or whose storage does, and sends again to the other host. Then
the first host goes on. Each stands still before any of its file calls, until the other has ended.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from maildir_safe.errors import TemporaryError, UnknownOutcome
from maildir_safe.testing.simfs import Fault
from tests.model.queue_world import Actor, Entry, body_of
from tests.model.test_queue_hosts import (
    Scene,
    Switches,
    check,
    collect_between_runs_only as collect_between_runs_only,  # a fixture
    schedules,
)

ENVID, TOKEN = "envid-1", "one"


class TwoTries(Scene):
    """Both hosts put the message; a client that has no answer tries once more."""

    def try_(self, actor: Actor) -> None:
        entry = self.ledger.entries.setdefault(TOKEN, Entry("refused"))
        try:
            actor.queue.put(body_of(TOKEN), "s@example.org", ["r@example.org"], delivery_id=ENVID)
        except TemporaryError as error:
            if entry.put == "refused" and isinstance(error, UnknownOutcome):
                entry.put = "unknown"
        else:
            entry.put = "accepted"

    def task_a(self) -> None:
        self.try_(self.a)

    def task_b(self) -> None:
        self.try_(self.b)

    def run(self, switches: Switches) -> int:
        steps = super().run(switches)
        self.server.settle()
        if self.ledger.entries[TOKEN].put != "accepted":
            self.try_(Actor(self.server, self.ledger, "again"))
        assert self.ledger.entries[TOKEN].put == "accepted", "no try succeeds"
        return steps


class Delivered(TwoTries):
    """The first putter died after its put; the item is delivered, and the client tries again."""

    how = "deliver"

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        dead = Actor(self.server, self.ledger, "dead", [Fault("create", errno.EIO, times=9, match=".done")])
        self.try_(dead)
        assert self.ledger.entries[TOKEN].put == "accepted"

    def task_a(self) -> None:
        for claim in self.a.claim():
            self.a.end(claim, self.how)


class Acked(Delivered):
    how = "ack"


PROFILES = ["local", "nfs4", "gluster"]


def one_stands_still(kind: Callable[[str], Scene], profile: str = "local") -> None:
    """Before every call of the first, the other does all that it does."""
    tried = [check(lambda: kind(profile), switches) for switches in schedules(lambda: kind(profile), 1)]
    assert len(tried) > 20


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", [TwoTries, Delivered, Acked])
def test_one_stands_still_anywhere(kind: Callable[[str], Scene], profile: str) -> None:
    one_stands_still(kind, profile)


@pytest.mark.parametrize("kind", [TwoTries, Delivered])
def test_both_stand_still_anywhere(kind: Callable[[str], Scene]) -> None:
    """One in eleven of the pairs of calls before which the other goes on."""
    some = [*schedules(lambda: kind("local"), 2)][::11]
    assert len([check(lambda: kind("local"), switches) for switches in some]) > 200
