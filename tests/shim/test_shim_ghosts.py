"""Ghosts: whose they are, how long they last, how many there can be. Pure."""

from __future__ import annotations

from maildir_safe._shim.ghosts import MOST, Ghost, Ghosts, Owner

HERE, THERE = (1, 10), (1, 11)
SHELL = (100, 5)


def owner(pid: int = 7, parent: tuple[int, int] | None = SHELL, uid: int = 1000, start: int = 9) -> Owner:
    return Owner((pid, start), parent, uid)


def ghost(name: str = "x", who: Owner | None = None) -> Ghost:
    return Ghost(HERE, name, who or owner(), (THERE, name))


def ghosts(alive: object = None) -> Ghosts:
    return Ghosts(lambda process: alive is None or process in alive)  # type: ignore[operator]


def test_once() -> None:
    known, one = ghosts(), ghost()
    known.add(one)
    assert known.find(HERE, "x", owner()) is one
    assert known.take(one)
    assert not known.take(one)
    assert known.find(HERE, "x", owner()) is None
    known.settle(one, used=False)  # a signal: the program asks again
    assert known.find(HERE, "x", owner()) is one
    assert known.take(one)
    known.settle(one, used=True)
    assert known.find(HERE, "x", owner()) is None
    assert not known.may_know("x")
    assert len(known) == 0


def test_by_directory_and_name() -> None:
    known = ghosts()
    known.add(ghost())
    assert known.may_know("x")
    assert known.find(THERE, "x", owner()) is None
    assert known.find(HERE, "y", owner()) is None


def test_whose() -> None:
    mine = owner()
    assert mine.includes(owner())
    assert mine.includes(owner(pid=8, parent=(7, 9)))  # its child
    assert mine.includes(owner(pid=8))  # its sibling: a shell's ln and rm
    assert not mine.includes(owner(pid=8, parent=(200, 1)))
    assert not mine.includes(owner(uid=1001))
    assert not mine.includes(owner(start=10, parent=(200, 1)))  # its number, used again
    orphan = owner(parent=None)
    assert not orphan.includes(owner(pid=8, parent=None))  # orphans are no siblings


def test_bounded() -> None:
    known = ghosts()
    for number in range(MOST + 500):
        known.add(ghost(str(number)))
    assert len(known) <= MOST
    assert known.find(HERE, str(MOST + 499), owner()) is not None
    assert known.find(HERE, "0", owner()) is None
    assert not known.may_know("0")


def test_nobody_makes_anothers_be_forgotten() -> None:
    known = ghosts()
    known.add(ghost("bobs", owner(uid=1001)))
    for number in range(MOST + 500):
        known.add(ghost(str(number)))
    assert known.find(HERE, "bobs", owner(uid=1001)) is not None


def test_those_of_dead_processes_are_forgotten() -> None:
    known = ghosts(alive=[(1, 1)])
    for number in range(1000):
        known.add(ghost(str(number), owner(pid=number + 10)))
    assert len(known) <= 64
    living = ghosts(alive=[SHELL])
    for number in range(1000):
        living.add(ghost(str(number), owner(pid=number + 10)))
    assert len(living) == 1000


def test_a_flood_costs_little() -> None:
    """Else each further link of anybody's would wait for a look at thousands of processes."""
    looks = 0

    def alive(process: object) -> bool:  # noqa: ARG001
        nonlocal looks
        looks += 1
        return True

    known = Ghosts(alive)
    for number in range(3 * MOST):
        known.add(ghost(str(number), owner(pid=number + 10)))
    assert len(known) <= MOST
    assert looks < 3 * MOST * 10
    looks = 0
    for number in range(3 * MOST):  # all of one process
        known.add(ghost(f"again{number}"))
    assert looks < 3 * MOST * 10


def test_whoever_has_the_most_is_the_one_who_loses() -> None:
    known = ghosts()
    known.add(ghost("carols", owner(uid=1002)))
    for number in range(MOST - 1):
        known.add(ghost(str(number)))
    for number in range(500):
        known.add(ghost(f"bobs{number}", owner(uid=1001)))
    assert known.find(HERE, "carols", owner(uid=1002)) is not None
    assert known.find(HERE, "bobs0", owner(uid=1001)) is not None
    assert known.find(HERE, "0", owner()) is None
