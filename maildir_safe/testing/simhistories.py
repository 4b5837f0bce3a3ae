"""The histories to explore: typical work of mail programs, small enough for exhaustive runs."""

from __future__ import annotations

import contextlib

from maildir_safe._delivery.attempt import JANITOR_AGE
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.invariants import Violation
from maildir_safe.testing.simworld import World


def deliver_one(world: World) -> None:
    """Deliver one message."""
    world.deliver("one")


def deliver_two(world: World) -> None:
    """Deliver two messages, one after the other."""
    world.deliver("one")
    world.deliver("two")


def deliver_batch(world: World) -> None:
    """Deliver two messages as one group, which shares its fsyncs (syncfs on a local disk)."""
    world.deliver_many("one", "two")


def deliver_again(world: World) -> None:
    """Deliver one message with an id, and retry it until it is acknowledged, as an MTA does."""
    for _ in range(2):
        if world.deliver("one", with_id=True) == "acked":
            break


def make_and_deliver(world: World) -> None:
    """Deliver into a Maildir that does not exist yet; the first delivery makes it."""
    world.make = lambda path, host: Maildir(path, fs=host)
    world.contested = bool(world.server.profile.write_back)  # two may make it, unseen by each other
    for host in ("a", "b"):
        if world.deliver("one", host, with_id=True, path="/fresh") == "acked":
            break


def read_flag_move(world: World) -> None:
    """One host delivers; the host with the faults reads, flags, moves and removes."""
    world.deliver("one", "b")
    world.deliver("two", "b")
    world.server.advance(30.0)
    world.read("a")
    world.flag("one", "S", "a")
    world.flag("one", "RS", "a")
    world.move("one", "a")
    world.discard("two", "a")


def janitor(world: World) -> None:
    """The janitor sweeps while messages are delivered; its host's clock is two days ahead."""
    if world.server.profile.network:
        world.host("a", clock_offset=2 * 86400.0)
    old = world.litter("1.old", JANITOR_AGE + 3600)
    world.litter("2.young", JANITOR_AGE / 2)
    world.together([("b", lambda: world.deliver("one", "b")), ("a", lambda: world.clean("a"))])
    swept = world.clean("a")
    world.server.settle()
    if swept and not world.host("a").plan.hits and old in world.server.files():
        raise Violation("I7", f"{old} is old and was left")


def server_was_down(world: World) -> None:
    """One server of a replicated directory is down during a delivery; then another host looks."""
    world.deliver("one", "b")
    world.server.replica_down()
    world.deliver("two", "b")
    world.server.advance(30.0)
    world.server.replica_up()
    world.read("a")
    world.deliver("three", "a", with_id=True)


def two_writers(world: World) -> None:
    """Two hosts deliver at the same time; they share only the directory."""
    world.together([("a", lambda: world.deliver("one", "a")), ("b", lambda: world.deliver("two", "b"))])


def writer_and_reader(world: World) -> None:
    """One host delivers while another reads, flags and moves the messages it sees."""
    world.deliver("old", "b")

    def reads() -> None:
        world.read("b")
        world.flag("old", "S", "b")
        world.move("old", "b")
        world.read("b")

    world.together([("a", lambda: world.deliver("one", "a")), ("b", reads)])


def two_readers(world: World) -> None:
    """Two hosts move the same message at the same time; the first answer counts for the ledger."""
    world.contested = True
    world.deliver("old", "a")
    world.server.advance(30.0)
    entry = world.ledger.entries["old"]
    entry.places = {("/mail", ""), ("/mail", "S"), ("/other", ""), ("/other", "S")}

    def flags() -> None:
        with contextlib.suppress(TemporaryError, KeyError):
            world.box("a").set_flags(entry.key, "S")

    def moves() -> None:
        with contextlib.suppress(TemporaryError, KeyError):
            world.box("b").move(entry.key, world.box("b", "/other"))

    world.together([("a", flags), ("b", moves)])
