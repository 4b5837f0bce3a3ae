"""The script of a fault mount: which call fails next, and how.

Pure bookkeeping, no FUSE: `faultfs` asks it before each file call, `faultmount` fills it.
"""

from __future__ import annotations

import errno
import fnmatch
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

OPERATIONS = frozenset(
    {
        "chmod",
        "close",
        "create",
        "fsync",
        "fsyncdir",
        "link",
        "listdir",
        "mkdir",
        "open",
        "read",
        "rename",
        "rmdir",
        "stat",
        "symlink",
        "truncate",
        "unlink",
        "utime",
        "write",
    }
)
"""The calls that can be made to fail. `close` is the call for which close(2) waits (FUSE's flush)."""

LONGEST_HOLD = 60.0
"""Seconds after which a held answer is released anyway: a process that waits for it cannot be killed."""

Executed = bool | Literal["late", "copy"]
Effect = Callable[[], Any]


@dataclass
class Fault:
    """One scripted fault. Its fields are the arguments of `FaultMount.inject`."""

    operation: str
    error: int | None = None
    name: str = "*"
    times: int | None = 1
    executed: Executed = False
    delay: float = 0.0
    held: bool = False
    stale: bool = False
    listing: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"unknown operation {self.operation!r}; one of {sorted(OPERATIONS)}")
        if self.executed and self.error is None:
            raise ValueError("executed= says what happened behind a reported error: give the error")
        if self.executed == "copy" and self.operation != "rename":
            raise ValueError("only a rename can be executed as a copy")
        if self.stale and (self.operation != "listdir" or self.error is not None):
            raise ValueError("stale= is for a listdir that reports no error")

    def takes(self, operation: str, path: str) -> bool:
        """Report whether this fault applies to a call and is not used up."""
        return self.operation == operation and self.times != 0 and fnmatch.fnmatchcase(path, self.name)


@dataclass(frozen=True)
class Fired:
    """A fault that happened.

    Attributes:
        operation: the call, as given to `inject`.
        path: of the call, relative to the mount; the new name of a rename or link.
        error: the errno that was reported, or None.
        executed: whether the call had taken effect when its answer was sent.
    """

    operation: str
    path: str
    error: int | None
    executed: bool


class Plan:
    """The injected faults in order, those that have happened, and those that wait for `release`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._fired: list[Fired] = []
        self._late: list[Effect] = []
        self._go = threading.Event()

    def inject(self, fault: Fault) -> None:
        """Add a fault after the existing ones."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Drop all faults that have not happened; calls that wait for `release` still wait."""
        with self._lock:
            self._faults.clear()

    def fired(self) -> list[Fired]:
        """Return the faults that have happened so far, in order."""
        with self._lock:
            return list(self._fired)

    def release(self) -> list[int]:
        """Release held answers and execute late calls; return each late call's errno, 0 if it took effect."""
        with self._lock:
            late, self._late = self._late, []
            self._go.set()
            self._go = threading.Event()
        return [_errno_of(effect) for effect in late]

    def take(self, operation: str, path: str) -> Fault | None:
        """Return the fault for this call and count it as used; None if there is none."""
        with self._lock:
            for fault in self._faults:
                if fault.takes(operation, path):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def act(self, fault: Fault, path: str, effect: Effect, copy: Effect | None = None) -> Any:
        """Run one call with its fault; return the result, or the `OSError` to report.

        If the call itself fails, that error is reported, as it would be without the fault.
        """
        executed = fault.executed if fault.error is not None else True
        result = None
        with self._lock:
            go = self._go
            if executed == "late":
                self._late.append(effect)
        if executed == "copy" and copy is not None:
            copy()
        elif executed is True:
            result = effect()
        with self._lock:
            self._fired.append(Fired(fault.operation, path, fault.error, executed not in (False, "late")))
        time.sleep(fault.delay)
        if fault.held:
            go.wait(LONGEST_HOLD)
        if fault.error is not None:
            raise Reported(fault.error, result)
        return result


class Reported(OSError):
    """Return the scripted error. If `result`, the executed call's result, is a descriptor, it is closed."""

    def __init__(self, error: int, result: Any) -> None:
        super().__init__(error, errno.errorcode.get(error, str(error)))
        self.result = result


def _errno_of(effect: Effect) -> int:
    try:
        effect()
    except OSError as error:
        return error.errno or errno.EIO
    return 0
