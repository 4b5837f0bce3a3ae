"""Several processes on one spool, beside the same number that make the bare calls.

python -m benchmarks.queue_processes ours|bare PATH SECONDS       one of them
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.queue_contenders import MESSAGE, RECIPIENT, SENDER, bare_cycle, directories
from maildir_safe import Queue

PROCESSES = 8

Step = Callable[[], int]
"""One item in, and one out if there is one; how many came out."""


def many_processes(base: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Items a second of one process and of eight, ours and the bare calls, in turns; a round each."""
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind in ("ours", "bare"):
            for processes in (1, PROCESSES):
                rates.setdefault(f"{kind}, {processes}", []).append(_together(base, kind, processes, seconds))
    return rates


def times(rates: dict[str, list[float]], one: str, other: str) -> float:
    """The median over rounds of how many times as fast `one` was."""
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


def _together(base: Path, kind: str, processes: int, seconds: float) -> float:
    """Items a second of so many processes, which begin when all are ready."""
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        if kind == "ours":
            Queue(path / "spool").close()
        words = [sys.executable, "-m", __name__, kind, str(path / "spool"), str(seconds)]
        running = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(int(process.communicate()[0]) for process in running) / seconds
    finally:
        shutil.rmtree(path)


def _ours(queue: Queue) -> Step:
    """Put one and claim one, anybody's; each is durable before the next call."""

    def step() -> int:
        queue.put(MESSAGE, SENDER, [RECIPIENT])
        claims = queue.claim()
        for claim in claims:
            claim.ack()
        return len(claims)

    return step


def _bare(spool: Path) -> Step:
    """In a tmp/ that all share; of the others each has its own, as buckets and claimed/ are ours."""
    name = f"item{os.getpid()}"
    tmp, _, _ = directories(spool)
    _, pending, claimed = directories(spool / name)
    cycle = bare_cycle(name, tmp, pending, claimed)

    def step() -> int:
        cycle(1)
        return 1

    return step


def main(kind: str, spool: str, seconds: float) -> None:
    """Get ready, say so, wait for a line, and print how many items came out in that time."""
    step = _ours(Queue(spool, create=False)) if kind == "ours" else _bare(Path(spool))
    step()
    print("ready", flush=True)
    sys.stdin.readline()
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count += step()
    print(count)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
