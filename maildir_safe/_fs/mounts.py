"""The kernel's table of mounts, read without touching a mount: one that hangs would hang the caller."""

from __future__ import annotations

import os
import re
import select

_TABLE = "/proc/self/mountinfo"
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_points() -> list[str]:
    """Return all mount points; ``["/"]`` if the table cannot be read."""
    try:
        with open(_TABLE, "rb") as table:
            rows = [line.split(b" ") for line in table]
    except OSError:
        return ["/"]
    raw = [_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), row[4]) for row in rows]
    return [point.decode("utf-8", "surrogateescape") for point in raw]


class MountTypes:
    """The types of mounts, by number, and whether the table has changed: then a number may mean another."""

    def __init__(self) -> None:
        self._fd = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLPRI)

    def changed(self) -> bool:
        """Whether a mount came, went, or was moved since the last call. For one thread at a time."""
        return bool(self._poll.poll(0))

    def type_of(self, mount: int) -> str:
        """The type of a mount, as `quirks` takes it; "" if the table does not have it."""
        number = b"%d" % mount
        with open(_TABLE, "rb") as table:
            for line in table:
                if line.split(b" ", 1)[0] == number:
                    return os.fsdecode(line.partition(b" - ")[2].split(b" ", 1)[0])
        return ""
