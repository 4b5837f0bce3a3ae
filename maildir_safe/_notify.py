"""Tells systemd how a service is doing: sd_notify(3).

That is one datagram, so no package is needed for it. Without systemd nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PERIOD = 10.0
_LONGEST = 5.0  # seconds to wait for systemd to take a datagram


class Notifier:
    """The connection to the service manager that started this process.

    Args:
        environment: where `NOTIFY_SOCKET` and `WATCHDOG_USEC` are looked up; by default that of
            this process.

    Attributes:
        active: whether there is a service manager.
        period: seconds between two calls of `alive` that send something: half of the watchdog's
            time, or 10 without a watchdog.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.active = bool(path)
        watchdog = environment.get("WATCHDOG_USEC", "")
        self.period = int(watchdog) / 2_000_000 if watchdog.isdecimal() and int(watchdog) else _PERIOD
        self._next = 0.0

    def ready(self, status: str) -> None:
        """The service accepts work."""
        self._send("READY=1", status)

    def alive(self, status: str) -> None:
        """The service works: feed the watchdog. May be called as often as you like."""
        now = time.monotonic()
        if self.active and now >= self._next:
            self._next = now + self.period
            self._send("WATCHDOG=1", status)

    def reloading(self, status: str) -> None:
        """The service reads its settings again; `ready` says that it has."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}", status)

    def stopping(self, status: str) -> None:
        """The service finishes what it has begun."""
        self._send("STOPPING=1", status)

    def _send(self, state: str, status: str) -> None:
        if not self.active:
            return
        text = " ".join(status.split())  # a line break would begin another assignment
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_LONGEST)
                sock.sendto(f"{state}\nSTATUS={text}\n".encode(errors="replace"), self._address)
        except OSError:
            pass  # mail goes on without a service manager that listens
