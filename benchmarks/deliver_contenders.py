"""Who takes part inside this process: ours, the standard library's mailbox, and the ceilings."""

from __future__ import annotations

import asyncio
import mailbox
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import ceiling
from benchmarks.deliver_rounds import Contender, Deliver
from maildir_safe import Maildir

SINGLE = "maildir_safe"
STDLIB = "mailbox.Maildir"
SIX_CALLS = "ceiling: six calls, Python"
SIX_CALLS_IN_C = "ceiling: six calls, C"
GROUPS = (8, 32, 128)


def many(size: int) -> str:
    """The name of our batches of `size`."""
    return f"{SINGLE}, deliver_many({size})"


def threads(of: str, callers: int) -> str:
    """The name of a contender in so many threads."""
    return f"{of}, {callers} threads"


def tasks(callers: int) -> str:
    """The name of our asyncio callers."""
    return f"{SINGLE}, {callers} async callers"


def group_ceiling(size: int) -> str:
    """The name of the raw group's ceiling."""
    return f"ceiling: group of {size}, Python"


def contenders() -> list[Contender]:
    """All of them; those that are compared stand together, and so run one after the other."""
    return [
        Contender(SINGLE, "yes", _ours),
        Contender(SIX_CALLS, "yes", ceiling.six_calls),
        Contender(SIX_CALLS_IN_C, "yes", ceiling.six_calls_in_c),
        Contender(STDLIB, "file only", _stdlib),
        *(one for n in GROUPS for one in _groups(n)),
        Contender(tasks(1), "yes", partial(_ours_async, callers=1)),
        *(one for n in GROUPS for one in _callers_at_once(n)),
    ]


def _groups(size: int) -> list[Contender]:
    return [
        Contender(many(size), "yes", partial(_ours_many, size=size), size),
        Contender(group_ceiling(size), "yes", partial(ceiling.group, size=size), size),
    ]


def _callers_at_once(callers: int) -> list[Contender]:
    return [
        Contender(tasks(callers), "yes", partial(_ours_async, callers=callers), callers),
        Contender(threads(SINGLE, callers), "yes", partial(_ours, callers=callers), callers),
        Contender(threads(STDLIB, callers), "file only", partial(_stdlib, callers=callers), callers),
    ]


@contextmanager
def _ours(box: Path, callers: int = 1) -> Iterator[Deliver]:
    with _callers(Maildir(box).deliver, callers) as deliver:
        yield deliver


@contextmanager
def _ours_many(box: Path, size: int) -> Iterator[Deliver]:
    maildir = Maildir(box)

    def deliver(messages: Sequence[bytes]) -> None:
        for start in range(0, len(messages), size):
            maildir.deliver_many(messages[start : start + size])

    yield deliver


@contextmanager
def _ours_async(box: Path, callers: int) -> Iterator[Deliver]:
    maildir = Maildir(box)

    async def caller(share: Sequence[bytes]) -> None:
        for message in share:
            await maildir.deliver_async(message)

    async def together(messages: Sequence[bytes]) -> None:
        await asyncio.gather(*(caller(messages[number::callers]) for number in range(callers)))

    yield lambda messages: asyncio.run(together(messages))


@contextmanager
def _stdlib(box: Path, callers: int = 1) -> Iterator[Deliver]:
    with _callers(mailbox.Maildir(box).add, callers) as deliver:
        yield deliver


@contextmanager
def _callers(one: Callable[[bytes], object], callers: int) -> Iterator[Deliver]:
    """`one` called for each message, by as many threads as there are callers."""

    def deliver(messages: Sequence[bytes]) -> None:
        for message in messages:
            one(message)

    def in_threads(messages: Sequence[bytes]) -> None:
        for done in [pool.submit(deliver, messages[number::callers]) for number in range(callers)]:
            done.result()

    if callers == 1:
        yield deliver
        return
    with ThreadPoolExecutor(callers) as pool:
        yield in_threads
