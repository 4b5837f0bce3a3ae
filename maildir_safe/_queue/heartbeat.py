"""The thread that looks after a queue."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    import weakref

    from maildir_safe._queue.queue import Queue

log = logging.getLogger("maildir_safe.queue")


def start_heartbeat(queue: weakref.ref[Queue], seconds: float) -> threading.Event:
    """Call `Queue.tend` from a thread, until nobody uses the queue any more.

    Args:
        seconds: between two calls.

    Returns:
        What ends the thread.

    Raises:
        TemporaryError: no thread can be started.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(seconds) and (alive := queue()) is not None:
            try:
                alive.tend()
            except TemporaryError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("%s: unexpected; the lease is renewed all the same", alive.path)
            del alive

    try:
        threading.Thread(target=beat, name="maildir-safe-heartbeat", daemon=True).start()
    except RuntimeError as error:
        raise TemporaryError(f"nobody would renew the lease: {error}") from error
    return stop
