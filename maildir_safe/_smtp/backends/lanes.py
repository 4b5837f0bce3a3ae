"""Threads for file calls, in lanes: a file system that hangs delays its own mail only.

Each mount is a lane with its own threads. The lane of a mailbox is looked up in the kernel's table
of mounts, without touching the mount itself. A lane in which a call has hung for half a minute
accepts nothing more, so that clients waiting for it cannot use up all connections.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from maildir_safe._smtp.protocol.replies import STORAGE_FAULT, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    T = TypeVar("T")

THREADS = 32
"""Threads of one lane."""

HANGS = 30.0
"""Seconds after which an operation counts as hung."""

_TABLE_IS_GOOD = 5.0  # seconds


class Lane:
    """The threads of one mount.

    Args:
        name: the mount point.
        deliveries: most deliveries at a time.

    Attributes:
        name: as given.
        executor: runs the file calls of this lane.
        under_way: number of deliveries that have a place now.
    """

    def __init__(self, name: str, deliveries: int) -> None:
        self.name = name
        self.under_way = 0
        self._places = asyncio.Semaphore(deliveries)
        self.executor = ThreadPoolExecutor(THREADS, f"maildir-safe {name}")
        self._begun: dict[object, float] = {}

    @property
    def busy(self) -> bool:
        """Whether an operation is under way."""
        return bool(self._begun)

    def check(self) -> None:
        """Raise `Refused` (451) if an operation hangs here."""
        if self._begun and time.monotonic() - next(iter(self._begun.values())) > HANGS:
            raise Refused(STORAGE_FAULT)

    async def acquire(self) -> object:
        """Wait for a free place for a delivery, and take it. Raises `Refused` if an operation hangs here.

        Returns:
            What `release` takes.
        """
        self.check()
        while self._places.locked():
            try:
                await asyncio.wait_for(self._places.acquire(), HANGS / 4)
                break
            except TimeoutError:
                self.check()
        else:
            await self._places.acquire()
        self.under_way += 1
        return self._begin()

    def release(self, token: object) -> None:
        """Give the place back that `acquire` took."""
        self._end(token)
        self.under_way -= 1
        self._places.release()

    def _begin(self) -> object:
        token = object()
        self._begun[token] = time.monotonic()
        return token

    def _end(self, token: object) -> None:
        del self._begun[token]

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Run `call(*args)` in one of the threads. Raises `Refused` if an operation hangs here."""
        self.check()
        token = self._begin()
        running = asyncio.get_running_loop().run_in_executor(self.executor, call, *args)
        running.add_done_callback(lambda _: self._end(token))  # if the caller gives up, the call still runs
        return await asyncio.shield(running)


class Lanes:
    """All lanes of a process.

    Args:
        mount_points: returns all mount points, without touching them.
        deliveries: most deliveries at a time per lane.
    """

    def __init__(self, mount_points: Callable[[], Sequence[str]], deliveries: int) -> None:
        self._deliveries = deliveries
        self._mount_points = mount_points
        self._read = float("-inf")
        self._points: Sequence[str] = ()
        self._lanes: dict[str, Lane] = {}

    @property
    def busy(self) -> bool:
        """Whether an operation is under way in any of them."""
        return any(lane.busy for lane in self._lanes.values())

    def of(self, path: str) -> Lane:
        """The lane of an absolute path."""
        now = time.monotonic()
        if now - self._read > _TABLE_IS_GOOD:
            self._read, self._points = now, sorted(self._mount_points(), key=len, reverse=True)
        inside = path + "/"
        point = next((p for p in self._points if inside.startswith(p if p == "/" else p + "/")), "/")
        lane = self._lanes.get(point)
        if lane is None:
            lane = self._lanes[point] = Lane(point, self._deliveries)
        return lane
