"""Runs several hosts at once, deterministically: each file call decides which host continues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from maildir_safe.testing.simserver import HostDied, SimServer

if TYPE_CHECKING:
    from maildir_safe.testing.simclient import SimClient

Choose = Callable[[int, int], int]
Outcome = tuple[object, BaseException | None]


class _Baton:
    """One thread per host; only the thread that holds the baton runs."""

    def __init__(self, server: SimServer, choose: Choose) -> None:
        self.server = server
        self.choose = choose
        self.steps = 0
        self.waiting: dict[SimClient, threading.Semaphore] = {}
        self.wake: dict[SimClient, float] = {}
        self.finished = threading.Event()

    def turn(self, host: SimClient) -> None:
        others = [other for other in self.waiting if other is not host]
        picked = self.choose(self.steps, len(others) + 1)
        self.steps += 1
        if picked:
            self._give(others[picked - 1])
            self.waiting[host].acquire()
        if host.dead:
            raise HostDied(host.name)

    def sleep(self, host: SimClient, until: float) -> None:
        self.wake[host] = until
        if self._next() is not host:
            self._give(self._next())
            self.waiting[host].acquire()
        del self.wake[host]

    def leave(self, host: SimClient) -> None:
        del self.waiting[host]
        if self.waiting:
            self._give(self._next())
        else:
            self.finished.set()

    def _next(self) -> SimClient:
        return min(self.waiting, key=lambda host: self.wake.get(host, 0.0))

    def _give(self, host: SimClient) -> None:
        self.waiting[host].release()


def interleave(
    server: SimServer, tasks: list[tuple[SimClient, Callable[[], object]]], choose: Choose
) -> list[Outcome]:
    """Run each task on its own host, switching between them at file calls.

    The code of the tasks is plain synchronous Python. A host that sleeps lets the others run;
    one that is picked while it sleeps wakes up, and its time has passed.

    Args:
        server: which all hosts use.
        tasks: one host and what it does; each host once.
        choose: given the number of the call and how many hosts can go on, which does: 0 the
            one that is running, 1 and up the others in order of `tasks`. The first task begins.

    Returns:
        For each task its result and the exception that ended it, if any.
    """
    baton = _Baton(server, choose)
    outcomes: list[Outcome] = [(None, None)] * len(tasks)

    def run(index: int, host: SimClient, task: Callable[[], object]) -> None:
        baton.waiting[host].acquire()
        try:
            outcomes[index] = (task(), None)
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            outcomes[index] = (None, error)
        finally:
            baton.leave(host)

    threads = []
    for index, (host, task) in enumerate(tasks):
        baton.waiting[host] = threading.Semaphore(0)
        threads.append(threading.Thread(target=run, args=(index, host, task), daemon=True))
    server.turns = baton
    try:
        for thread in threads:
            thread.start()
        baton.waiting[tasks[0][0]].release()
        baton.finished.wait()
        for thread in threads:
            thread.join()
    finally:
        server.turns = None
    return outcomes
