"""Group commit for asyncio: what is waiting when the last batch is done makes the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from maildir_safe.maildir.delivery import Letter

_Waiting = list[tuple[Letter, "asyncio.Future[None]"]]


class AsyncCombiner:
    """Runs batches of letters in the event loop's threads, one batch at a time and loop.

    Args:
        work: delivers a batch; what became of each letter is in the letter.
    """

    def __init__(self, work: Callable[[list[Letter]], None]) -> None:
        self._work = work
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()
        self._drains: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks weakly

    async def run(self, letter: Letter) -> None:
        """Return when the letter has been delivered or refused."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        waiting = self._waiting.get(loop)
        if waiting is None:
            waiting = self._waiting[loop] = []
            drain = loop.create_task(self._drain(loop, waiting))
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)
        waiting.append((letter, done))
        await done

    async def _drain(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting) -> None:
        try:
            while waiting:
                batch = waiting[:]
                waiting.clear()
                try:
                    await loop.run_in_executor(None, self._work, [letter for letter, _ in batch])
                finally:
                    for _, done in batch:
                        if not done.done():  # its caller was cancelled
                            done.set_result(None)
        finally:
            del self._waiting[loop]
            for _, done in waiting:
                done.cancel()
