"""Connections to a server that wait for the next message.

A connection costs several round trips, and TLS and AUTH cost more. One that has just been used serves the
next message, if that comes soon. A server may have closed it by then, so RSET asks first.
"""

from __future__ import annotations

import smtplib
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_FOR = 2.0
"""Seconds that a connection waits, as Postfix's do: servers count those that do nothing."""

MOST_IDLE = 50
"""Connections that wait at a time, to all servers; the one that has waited longest ends first.

Without a limit, a relay to 1,000 domains would have a connection to each of them for two seconds.
"""

MOST_MESSAGES = 100
"""Messages over one connection. Some servers end it after a number of their own."""

_ANSWER_WITHIN = 10.0  # seconds for RSET; a server that takes longer is asked on a new connection


class Idle(NamedTuple):
    """A connection that waits.

    Attributes:
        since: when it began to wait, on the MONOTONIC clock, in seconds.
        used: for how many messages.
        where: its server.
    """

    since: float
    used: int
    where: str
    connection: smtplib.SMTP


class IdleConnections:
    """The connections of one courier that are not in use, in the order in which they began to wait.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Idle] = []
        self._in_use: dict[smtplib.SMTP, int] = {}
        self._timer: threading.Timer | None = None

    def take(self, where: str) -> smtplib.SMTP | None:
        """A connection to a server over which a message can be sent now; None if there is none."""
        while (server := self._latest(where)) is not None:
            if self._answers(server):
                return server
            self.drop(server)
        return None

    def keep(self, where: str, server: smtplib.SMTP) -> None:
        """Keep a connection after a message for the next one, or end it if it was used often enough."""
        ended = [server]
        with self._lock:
            used = self._in_use.pop(server, 0) + 1
            if used < MOST_MESSAGES:
                self._idle.append(Idle(time.monotonic(), used, where, server))
                ended = [self._idle.pop(0).connection] if len(self._idle) > MOST_IDLE else []
                self._start_timer()
        for one in ended:
            _quit(one)

    def drop(self, server: smtplib.SMTP) -> None:
        """Close a connection that failed."""
        with self._lock:
            self._in_use.pop(server, None)
        server.close()

    def close(self) -> None:
        """End all idle connections."""
        self._end(lambda _: True)
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _latest(self, where: str) -> smtplib.SMTP | None:
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at].where == where:
                    found = self._idle.pop(at)
                    self._in_use[found.connection] = found.used
                    return found.connection
        return None

    def _answers(self, server: smtplib.SMTP) -> bool:
        sock = server.sock
        if sock is None:
            return False
        timeout = sock.gettimeout()
        try:
            sock.settimeout(_ANSWER_WITHIN)
            code, _ = server.docmd("RSET")
            sock.settimeout(timeout)
        except (smtplib.SMTPException, OSError):
            return False
        return code == 250

    def _start_timer(self) -> None:
        if self._timer is not None:
            return
        timer = threading.Timer(IDLE_FOR, self._expire)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            return  # no more threads; the next message, or the server, ends what is left
        self._timer = timer

    def _expire(self) -> None:
        limit = time.monotonic() - IDLE_FOR
        self._end(lambda since: since <= limit)
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # `close` was called, and what is idle now has a timer of its own
            self._timer = None
            if self._idle:
                self._start_timer()

    def _end(self, which: Callable[[float], bool]) -> None:
        with self._lock:
            ended = [one for one in self._idle if which(one.since)]
            self._idle = [one for one in self._idle if not which(one.since)]
        for one in ended:
            _quit(one.connection)


def _quit(server: smtplib.SMTP) -> None:
    """Say QUIT and close, without waiting for the reply."""
    try:
        server.putcmd("quit")
    except (smtplib.SMTPException, OSError):
        pass
    finally:
        server.close()
