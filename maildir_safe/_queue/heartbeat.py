"""The thread that renews a queue's lease."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING

from maildir_safe.errors import TemporaryError

if TYPE_CHECKING:
    from maildir_safe._queue.queue import Queue

log = logging.getLogger("maildir_safe.queue")

BEATS = 12
"""Calls of `tend` per lease."""


def start_heartbeat(queue: Queue, lease_seconds: float) -> threading.Event:
    """Call `Queue.tend` from a thread, until the queue is garbage or the returned event is set.

    Args:
        queue: the thread holds only a weak reference to it.
        lease_seconds: the length of its lease.

    Returns:
        The event that ends the thread.

    Raises:
        TemporaryError: no thread can be started.
    """
    stop = threading.Event()
    reference = weakref.ref(queue)

    def beat() -> None:
        while not stop.wait(lease_seconds / BEATS) and (alive := reference()) is not None:
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
