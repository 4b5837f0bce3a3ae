"""Two Coda clients on one Maildir: a directory that a process holds open is not fetched anew.

"Active reference prevents refetching": listing says EIO, creating ETOOMANYREFS, until every holder has
closed it. Whoever keeps descriptors between deliveries is refused; whoever opens the new ones before
letting go of the old never recovers.
"""

from __future__ import annotations

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._maildir.named_store import NamedStore
from maildir_safe.testing.explore import Explorer
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simworld import World

EACH = 20


def by_turns(pause: float, world: World) -> None:
    """Two clients deliver by turns; each sees what the other did before it delivers again."""
    for number in range(EACH):
        for host in ("a", "b"):
            token = f"{host}{number}"
            if world.deliver(token, host) != "acked":
                raise Violation("I9", f"{token} was refused though nothing goes wrong")
            world.server.advance(pause)


@pytest.mark.parametrize("pause", [1.0, 4.0, 30.0, 600.0])
def test_two_clients_deliver_and_nobody_is_refused(pause: float) -> None:
    world = World("coda")
    by_turns(pause, world)
    world.server.settle()
    world.check(present=True)
    assert not world.server.conflicts


def test_a_reader_on_one_client_sees_what_the_other_delivers() -> None:
    world = World("coda")
    for number in range(5):
        world.deliver(f"m{number}", "a")
        world.server.advance(30.0)
        assert world.read("b") == number + 1


def test_another_process_of_the_same_client_holds_nothing_either() -> None:
    """Three Maildir objects of one host: a descriptor that any of them keeps blinds all of them."""
    world = World("coda")
    boxes = [Maildir("/mail", create=False, fs=world.host("a")) for _ in range(3)]
    for number in range(6):
        world.deliver(f"b{number}", "b")
        world.server.advance(30.0)
        boxes[number % 3].deliver(f"Subject: {number}\n\n".encode())
        world.server.advance(30.0)
    assert len(list(boxes[0].messages())) == 12


def test_nothing_is_held_between_two_operations() -> None:
    world = World("coda")
    world.deliver("one")
    world.read("a")
    assert world.host("a").open_descriptors == []


def test_nothing_at_all_is_held_by_the_doors_together() -> None:
    """Folders, a second object of the same Maildir, the drop-in's store and a queue, all of one process."""
    host = World("coda").host("a")
    boxes = [Maildir("/mail", fs=host) for _ in range(2)]
    folder = boxes[0].folder("Sub")
    store = NamedStore("/mail", fs=host)
    queue = Queue("/spool", shared=False, heartbeat=False, fs=host)
    for _ in range(2):
        folder.deliver(b"Subject: x\n\n")
        for box in (*boxes, store):
            box.deliver(b"Subject: x\n\n")
            assert list(box.messages())
        queue.put(b"Subject: x\n\n", "s@example.org", ["r@example.org"])
        [claim] = queue.claim()
        claim.ack_into(boxes[1])
        assert host.open_descriptors == []


def test_two_clients_with_every_single_fault() -> None:
    """Faults on one of them: what is acknowledged is there, and it recovers."""

    def history(world: World) -> None:
        for number, host in enumerate("abab"):
            world.deliver(f"m{number}", host, with_id=True)
            world.server.advance(30.0)

    explorer = Explorer(history, "coda", crash=False).single()
    assert explorer.figures.runs > 50
