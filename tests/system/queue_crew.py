"""The processes of a queue test, and the reckoning at its end; see `queue_hosts.py` for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from queue_hosts import DELIVERED

from maildir_safe import Maildir, Queue

HOSTS = Path(__file__).with_name("queue_hosts.py")


class Crew:
    """Putters and workers of one test, and what they have said.

    Args:
        roots: the same directory as each host sees it; the first is where things are made.
        logs: where ledgers and logs are written; not on the mount.
        lease: of the workers, in seconds.
    """

    def __init__(self, roots: list[Path], logs: Path, lease: int) -> None:
        self.roots = roots
        self.logs = logs
        self.lease = lease
        self.maildir = roots[0] / "maildir"
        Queue(roots[0] / "spool").close()
        Maildir(self.maildir)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start a process; with several hosts each has a pid namespace of its own, as a host has."""
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if len(self.roots) > 1 else []
        words = (*alone, sys.executable, HOSTS, *words)
        with open(self.logs / f"log.{len(self.processes)}", "w") as log:
            process = subprocess.Popen(
                list(map(str, words)),
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # the guest has it not installed
            )
        self.processes.append(process)
        return process

    def putter(self, first: int, count: int, host: int = 0) -> subprocess.Popen[str]:
        """Put messages `first` and following, one by one."""
        ledger = self.logs / f"ledger.{first}"
        return self.start("put", self.roots[host] / "spool", ledger, first, count)

    def worker(self, *marker: object, host: int = 0) -> subprocess.Popen[str]:
        """Deliver, until killed; see `queue_hosts.py` for the marker."""
        root = self.roots[host]
        return self.start("work", root / "spool", root / "maildir", self.lease, *marker)

    def signal(self, process: subprocess.Popen[str], number: int) -> None:
        """Send a signal to what was started, not to what holds its namespace."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]) if len(self.roots) > 1 else process.pid, number)

    def log_of(self, process: subprocess.Popen[str]) -> str:
        """What a process has printed."""
        return (self.logs / f"log.{self.processes.index(process)}").read_text()

    def accepted(self) -> list[tuple[str, str]]:
        """Number and id of every message that a putter was told is in the queue."""
        lines = [line for ledger in self.logs.glob("ledger.*") for line in ledger.read_text().splitlines()]
        return [(number, ident) for number, ident in map(str.split, lines)]

    def delivered(self) -> Counter[str]:
        """How often each id is in the Maildir."""
        return Counter(name.partition(",")[0] for name in os.listdir(self.maildir / "new"))

    def said_delivered(self) -> Counter[tuple[str, str]]:
        """How often each worker (its log) has said of each id that it delivered it."""
        lines = [(log.name, line) for log in self.logs.glob("log.*") for line in log.read_text().splitlines()]
        return Counter((log, line[len(DELIVERED) :]) for log, line in lines if line.startswith(DELIVERED))

    def reckon(self, seconds: float = 120.0) -> str:
        """Wait until the queue is empty: every accepted message is in the Maildir exactly once."""
        accepted = self.accepted()
        ids = {ident for _, ident in accepted}
        until(lambda: ids <= set(self.delivered()), seconds)
        queue = Queue(self.roots[0] / "spool", create=False)
        until(lambda: queue.stats()["pending"] + queue.stats()["claimed"] == 0, seconds)
        delivered = self.delivered()
        assert {ident: n for ident, n in delivered.items() if n != 1} == {}, "more than once"
        subjects = Counter(
            path.read_bytes().split(b"Subject: ")[1].partition(b"\n")[0].decode()
            for path in (self.maildir / "new").iterdir()
        )
        assert {number for number, _ in accepted} <= set(subjects)
        return f"{len(ids)} accepted, {sum(delivered.values())} in the Maildir, {len(subjects)} different"

    def end(self) -> None:
        """Kill whoever is left."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def until(done: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that will come true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)
