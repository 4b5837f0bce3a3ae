"""A process that works until it is killed, and the pipe through which it reports to the ledger.

The ledger is in the process that does the killing, so that a kill does not destroy it. Each line is a
single write, so that a kill leaves it complete or absent.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from maildir_safe._child import DIRECTORY, command, running

if TYPE_CHECKING:
    from collections.abc import Sequence


class Victim:
    """A process, and the lines that it writes.

    Args:
        module: the module that it runs.
        words: its arguments.
        leftover: lines for its standard input; an empty line ends them.
    """

    def __init__(self, module: str, *words: object, leftover: Sequence[str] = ()) -> None:
        self.born = time.monotonic()
        self._process = subprocess.Popen(
            command(module, *words),
            cwd=DIRECTORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pipesize=1 << 20,
        )
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in leftover) + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> list[list[str]]:
        """SIGKILL it, stopped or not, and return the words of each line that it has written."""
        self.signal(signal.SIGKILL)
        out, _ = self._process.communicate()
        whole = [line.split() for line in out.splitlines(keepends=True) if line.endswith("\n")]
        if self._process.returncode != -signal.SIGKILL:
            whole.append(["error", "a process ended by itself with status", str(self._process.returncode)])
        return whole


def say(line: str) -> None:
    """Called in the process: write one line to the ledger."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_error(error: Exception | str) -> None:
    """Called in the process: report an error to the ledger."""
    say(f"error {error}"[:200])


def life(module: str, count: int) -> float:
    """The average life of a process in seconds, long enough to do some work on a slow machine.

    Args:
        module: the module that it runs.
        count: the number of processes that start at the same time.
    """
    start = time.monotonic()
    subprocess.run(running(f"import {module}"), cwd=DIRECTORY, check=True)
    return max(1.0, 3 * count * (time.monotonic() - start))
