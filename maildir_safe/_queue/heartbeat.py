"""The thread that renews a queue's lease."""

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
    """Call `Queue.tend` from a thread, until the queue is garbage or the returned event is set.

    Args:
        seconds: between two calls.

    Returns:
        The event that ends the thread.

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
                log.exception("%s: unexpected error; the thread goes on renewing the lease", alive.path)
            del alive

    try:
        threading.Thread(target=beat, name="maildir-safe-heartbeat", daemon=True).start()
    except RuntimeError as error:
        raise TemporaryError(f"no thread to renew the lease: {error}") from error
    return stop
