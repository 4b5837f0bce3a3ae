"""Three hosts deliver, read, flag, move, sweep, fail and crash at random, against a ledger.

One state machine for each profile. `PROVE=long` (as `make prove` sets it) takes more examples. A
counter-example is shrunk, and printed as its steps and as the file calls that led there.
"""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from maildir_safe.testing.explore import _ERRORS, settle
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simfs import LOST_REPLY, PROFILES, Fault
from maildir_safe.testing.simworld import World

LONG = os.environ.get("PROVE") == "long"
EXAMPLES, STEPS = (250, 40) if LONG else (100, 20)

HOSTS = st.sampled_from("abc")
PICK = st.integers(0, 1000)
FLAGS = st.sampled_from(["", "S", "RS", "FS", "T"])
ERRORS = [(kind, code) for kind, codes in _ERRORS.items() for code in codes]
REFUSALS = st.builds(
    lambda which, nth, times: Fault(*which, nth=nth, times=times),  # type: ignore[misc]
    st.sampled_from(ERRORS), st.integers(1, 4), st.sampled_from([1, 1, 5, 50]),
)  # fmt: skip
LOST = st.builds(
    lambda which, nth: Fault(which[0], which[1], "done", nth=nth),  # type: ignore[arg-type]
    st.sampled_from(list(LOST_REPLY.items())), st.integers(1, 3),
)  # fmt: skip
LATE = st.builds(
    lambda nth, times, delay: Fault("rename", effect="late", nth=nth, times=times, delay=delay),
    st.integers(1, 3), st.sampled_from([1, 5, 50]), st.sampled_from([0.5, 20.0, 500.0]),
)  # fmt: skip

SEEN: dict[str, list[int]] = {}


class Mail(RuleBasedStateMachine):
    """What may happen to a Maildir. Subclasses set the profile."""

    profile = "local"

    def __init__(self) -> None:
        super().__init__()
        gc.disable()  # descriptors are closed when they are collected: not at any odd moment
        self.tokens = (f"m{number}" for number in itertools.count())

    @initialize(skew=st.sampled_from([0.0, 90000.0, -90000.0]))
    def start(self, skew: float) -> None:
        self.world = World(self.profile)
        if self.world.server.profile.network:
            self.world.host("b", clock_offset=skew)
        self.world.contested = bool(self.world.server.profile.write_back)
        self.world.observer = World.check

    def known(self, pick: int, having: Callable[[Any], bool]) -> str | None:
        tokens = [token for token, entry in self.world.ledger.entries.items() if having(entry)]
        return tokens[pick % len(tokens)] if tokens else None

    @rule(host=HOSTS, with_id=st.booleans())
    def deliver(self, host: str, with_id: bool) -> None:
        self.world.deliver(next(self.tokens), host, with_id=with_id)

    @rule(host=HOSTS, pick=PICK)
    def try_again(self, host: str, pick: int) -> None:
        token = self.known(pick, lambda entry: not entry.acked)
        if token and self.world.may_try_again(token) and self.seen_by_all():
            self.world.deliver(token, host, with_id=True)

    def seen_by_all(self) -> bool:
        """A try on another host finds the earlier one only once caches and logs have passed on."""
        if any(host.partitioned for host in self.world.server.hosts):
            return False
        self.world.server.advance(60.0)
        return True

    @rule(host=HOSTS, pick=PICK, flags=FLAGS)
    def flag(self, host: str, pick: int, flags: str) -> None:
        token = self.known(pick, lambda entry: entry.acked and not entry.removed)
        if token and self.world._places(token) <= {("/mail", flags) for flags in ["", "S", "RS", "FS", "T"]}:
            self.world.server.advance(self.world.server.profile.listing)  # what others changed is seen
            self.world.flag(token, flags, host)

    @rule(host=HOSTS, pick=PICK)
    def move(self, host: str, pick: int) -> None:
        token = self.known(pick, lambda entry: entry.acked and not entry.removed and not entry.loose)
        if token and all(box == "/mail" for box, _ in self.world._places(token)):
            self.world.move(token, host)

    @rule(host=HOSTS, pick=PICK)
    def discard(self, host: str, pick: int) -> None:
        token = self.known(pick, lambda entry: entry.acked)
        if token:
            self.world.discard(token, host)

    @rule(host=HOSTS)
    def read(self, host: str) -> None:
        self.world.read(host)

    @rule(host=HOSTS)
    def clean(self, host: str) -> None:
        self.world.clean(host)

    @rule(first=HOSTS, schedule=st.lists(st.integers(0, 2), max_size=60), id_too=st.booleans())
    def all_at_once(self, first: str, schedule: list[int], id_too: bool) -> None:
        order = sorted("abc", key=lambda name: name != first)
        tokens = [next(self.tokens), next(self.tokens)]
        world = self.world
        world.choose = lambda step, count: (schedule[step] if step < len(schedule) else 0) % count
        jobs: list[Callable[[], object]] = [
            lambda: world.deliver(tokens[0], order[0], with_id=id_too),
            lambda: world.deliver(tokens[1], order[1]),
            lambda: (world.read(order[2]), world.clean(order[2])),
        ]
        world.together(list(zip(order, jobs, strict=True)))

    @rule(host=HOSTS, fault=st.one_of(REFUSALS, LOST, LATE))
    def fail(self, host: str, fault: Fault) -> None:
        self.world.host(host).plan.faults += (fault,)

    @rule(host=HOSTS, on=st.booleans())
    def partition(self, host: str, on: bool) -> None:
        self.world.host(host).partitioned = on

    @rule(seconds=st.sampled_from([1.0, 30.0, 3600.0, 50000.0]))
    def wait(self, seconds: float) -> None:
        self.world.server.advance(seconds)

    @rule(pick=PICK)
    def crash(self, pick: int) -> None:
        choices = list(itertools.islice(self.world.server.disk.choices(), 64))
        SEEN.setdefault(self.profile, [0, 0])[1] += 1
        self.world = self.world.after_crash(choices[pick % len(choices)])
        self.world.observer = World.check

    @invariant()
    def nothing_is_violated(self) -> None:
        if hasattr(self, "world") and self.world.violation:
            violation = self.world.violation
            raise Violation(violation.name, violation.text, self.world.server.history)

    def teardown(self) -> None:
        gc.enable()
        if hasattr(self, "world") and not self.world.violation:
            SEEN.setdefault(self.profile, [0, 0])[0] += len(self.world.server.history)
            settle(self.world)


def test_flags_that_were_set_before_are_set_again() -> None:
    """Found by the machine: the last listing still showed the flags, and so nothing was done."""
    world = World()
    world.deliver("one")
    for host, flags in [("a", "S"), ("a", ""), ("a", "S"), ("b", "F"), ("a", "S")]:
        assert world.flag("one", flags, host) == "done"
        world.check()


def test_flags_that_another_host_has_changed_since_are_set_all_the_same() -> None:
    """Found by the machine: rename said ENOENT, and a cached look-up showed the name of an earlier change."""
    world = World("gluster")
    world.deliver("one")
    for host, flags in [("c", "RS"), ("a", ""), ("c", ""), ("a", "S"), ("c", "RS")]:
        assert world.flag("one", flags, host) == "done"
        world.check()
    assert [path[-3:] for path in world.server.files()] == [",RS"]


def tried_again_before_the_first_came_late() -> World:
    """Even its withdrawal is executed 500 s late: unknown; and by then the message is there again."""
    world = World("nfs4", faults=[Fault("rename", effect="late", times=50, delay=500.0)], faulty="b")
    assert world.deliver("one", "b", with_id=True) == "unknown"
    world.server.advance(60.0)
    assert world.deliver("one", "a", with_id=True) == "acked"
    assert world.flag("one", "S", "a") == "done"
    return world


def test_a_copy_that_comes_late_has_no_flags_and_is_explained() -> None:
    """Found by the machine: I6 wanted the flags on a copy that did not exist when they were set."""
    world = tried_again_before_the_first_came_late()
    settle(world)
    assert sorted(path[:9] for path in world.server.files()) == ["/mail/cur", "/mail/new"]


def test_a_copy_that_comes_late_may_do_so_before_the_other_is_removed() -> None:
    """Found by the machine: I6 took it for the one that was removed."""
    world = tried_again_before_the_first_came_late()
    world.server.advance(3600.0)
    assert world.discard("one", "a") == "done"
    world.check()
    assert len(world.server.files()) == 1


def test_a_copy_that_comes_late_does_not_stand_for_one_that_is_lost() -> None:
    world = tried_again_before_the_first_came_late()
    world.server.advance(3600.0)
    flagged = next(path for path in world.server.files() if path.endswith(":2,S"))
    left = {path: data for path, data in world.server.files().items() if path != flagged}
    assert left
    world.ledger.check(world.server.files())
    with pytest.raises(Violation, match="I6"):
        world.ledger.check(left)


@pytest.mark.parametrize("profile", PROFILES)
def test_random_histories(profile: str, record_property: Callable[[str, object], None]) -> None:
    machine = type(f"Mail_{profile}", (Mail,), {"profile": profile})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not LONG,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    calls, crashes = SEEN[profile]
    assert calls > 100
    bounds = f"{EXAMPLES} histories of {STEPS} steps"
    done = f"{calls:,} file calls, {crashes} crashes, 0 violations"
    record_property("note", f"random   {profile:8} {bounds}, {done}")
