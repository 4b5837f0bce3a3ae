"""Several processes on the same listening sockets.

The parent opens the sockets and serves no client itself: it starts the workers, and restarts one
that died. A worker ends when it reads end-of-file from a connection that only the parent keeps
open. So it ends when the parent stops it, and also when the parent was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from maildir_safe._smtp.server.operator import tell
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Callable

RESTART_DELAY = 1.0
"""Seconds before a dead worker is restarted: a worker that dies at once must not use up the CPU."""


def supervise(
    count: int,
    work: Callable[[int, socket.socket], None],
    ready: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
    reload: Callable[[], None] = lambda: None,
) -> int:
    """Run `work` in `count` processes until SIGTERM or SIGINT.

    Call it before any thread is started: the processes are forked.

    Args:
        count: number of processes.
        work: called in each process with its number and a socket; must return when the socket
            becomes readable.
        ready: called once the processes are started.
        stopping: called before they are told to end.
        reload: called at SIGHUP, before the processes get that signal too.

    Returns:
        The exit status: 0, or 1 if a worker was killed or failed while ending.
    """
    ours, theirs = socket.socketpair()
    ordered = hung_up = False

    def hang_up(_number: int, _frame: object) -> None:
        nonlocal hung_up
        hung_up = True

    def stop(_number: int, _frame: object) -> None:
        nonlocal ordered
        ordered = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    workers = {_start(number, work, ours, theirs): number for number in range(count)}
    try:
        ready()
        while not ordered:
            _restart_dead(workers, work, ours, theirs)
            if hung_up:
                hung_up = False
                reload()
                for pid in workers:
                    os.kill(pid, signal.SIGHUP)
            time.sleep(0.1)
        stopping()
        ours.close()
        statuses = [os.waitpid(pid, 0)[1] for pid in workers]
        return int(any(statuses))
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def _restart_dead(
    workers: dict[int, int],
    work: Callable[[int, socket.socket], None],
    ours: socket.socket,
    theirs: socket.socket,
) -> None:
    for pid in [pid for pid in workers if os.waitpid(pid, os.WNOHANG)[0]]:
        number = workers.pop(pid)
        tell(f"worker {number} (process {pid}) died; restarting it")
        time.sleep(RESTART_DELAY)
        workers[_start(number, work, ours, theirs)] = number


def _start(
    number: int, work: Callable[[int, socket.socket], None], ours: socket.socket, theirs: socket.socket
) -> int:
    for stream in (sys.stdout, sys.stderr):  # or the child would write the buffered output a second time
        with contextlib.suppress(OSError):
            stream.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # the child takes it once it can
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        return pid
    status = 1
    try:
        ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until `work` sets its own
        work(number, theirs)
        status = 0
    except (MaildirSafeError, OSError) as error:
        tell(f"worker: {error}")
    except BaseException:  # noqa: BLE001 - the child must never run into the parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)
