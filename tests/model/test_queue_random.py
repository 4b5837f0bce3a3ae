"""Three hosts do what comes to mind, switched at random, with random faults; then the reckoning."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from maildir_safe.testing.simfaults import Fault, Kind
from maildir_safe.testing.simfs import interleave
from tests.model.queue_world import LEASE, Actor, Ledger, new_server, reckon
from tests.model.test_queue_hosts import collect_between_runs_only

pytestmark = pytest.mark.usefixtures("collect_between_runs_only")
__all__ = ["collect_between_runs_only"]

LONG = os.environ.get("PROVE") == "long"
KINDS: list[Kind] = ["rename", "unlink", "fsync_dir", "listdir", "mkdir", "create", "open_dir", "rmdir"]
EFFECTS = {"rename": ["none", "done", "late"], "unlink": ["none", "done", "late"], "mkdir": ["none", "done"]}


def faults(chance: random.Random) -> list[Fault]:
    """None, or a few; each may strike several times in a row."""
    found = []
    for _ in range(chance.choice([0, 0, 1, 3])):
        kind = chance.choice(KINDS)
        effect = chance.choice(EFFECTS.get(kind, ["none"]))
        found.append(
            Fault(
                kind,
                chance.choice([5, 110, 116]),
                effect,
                chance.randint(1, 20),
                chance.choice([1, 1, 9]),
                90.0,
            )  # type: ignore[arg-type]
        )
    return found


def life(actor: Actor, chance: random.Random) -> Callable[[], None]:
    """What one host does: it puts, works, stands still, and looks after the queue."""

    def live() -> None:
        for number in range(12):
            match chance.randrange(6):
                case 0 | 1:
                    actor.put(f"{actor.host.name}{number}")
                case 2 | 3 | 4:
                    for claim in actor.claim(chance.choice([1, 3])):
                        actor.host.sleep(chance.choice([0.0, 0.0, 20.0, LEASE * 1.5]))
                        actor.end(
                            claim, chance.choice(["ack", "deliver", "deliver", "release", "retry", "fail"])
                        )
                case 5:
                    actor.host.sleep(chance.choice([1.0, LEASE / 3, LEASE * 1.2]))
                    actor.tend()

    return live


@pytest.mark.parametrize("profile", ["local", "nfs4", "gluster"])
@settings(max_examples=600 if LONG else 60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
@example(seed=51576901)  # gluster: put away, the reply lost, fenced, and told LeaseLost
def test_three_hosts(profile: str, seed: int) -> None:
    chance = random.Random(seed)
    server, ledger = new_server(profile), Ledger()
    actors = [Actor(server, ledger, name, faults(chance)) for name in "abc"]
    switch = chance.choice([0.02, 0.2, 0.5])

    def choose(_: int, count: int) -> int:
        return chance.randrange(count) if chance.random() < switch else 0

    tasks = [(actor.host, life(actor, random.Random(f"{seed}/{actor.host.name}"))) for actor in actors]
    for _, error in interleave(server, tasks, choose):
        assert error is None, repr(error)
    gc.collect()
    reckon(server, ledger)
