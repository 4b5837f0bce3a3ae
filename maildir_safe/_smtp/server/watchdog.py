"""Feeds the service manager's watchdog, as long as the event loop turns and the storage answers."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maildir_safe._fs import FileSystem
    from maildir_safe._notify import Notifier


async def keep_feeding(notifier: Notifier, fs: FileSystem, directory: str, status: str) -> None:
    """Look at the storage again and again, and feed the watchdog after each answer.

    An error is an answer too, since a restart does not mend it: the status names it. A look that
    hangs feeds nothing. Each look has a thread of its own, which nobody waits for at the end.

    Args:
        notifier: the service manager.
        fs: where `directory` is.
        directory: where the mail goes.
        status: what to say while all is well.
    """
    loop = asyncio.get_running_loop()
    while True:
        answer: asyncio.Future[str] = loop.create_future()
        threading.Thread(target=_look, args=(fs, directory, loop, answer), daemon=True).start()
        notifier.alive(await answer or status)
        await asyncio.sleep(notifier.period)


def _look(
    fs: FileSystem, directory: str, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[str]
) -> None:
    trouble = ""
    try:
        fs.close(fs.open_dir(directory))
    except OSError as error:
        trouble = f"{directory}: {error.strerror}"
    try:
        loop.call_soon_threadsafe(_answer, answer, trouble)
    except RuntimeError:
        pass  # the loop ended while the storage hung


def _answer(answer: asyncio.Future[str], trouble: str) -> None:
    if not answer.done():
        answer.set_result(trouble)
