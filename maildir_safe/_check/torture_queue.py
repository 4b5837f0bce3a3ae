"""Torture of a queue: kill putters and workers, stop workers past their lease, then compare.

Putters put messages; workers deliver them into a Maildir on the same file system. A killed worker is
provably dead, and the next observer sweeps it. A stopped worker is fenced when its lease is over, and
notices that when it continues. In the end every message whose put was acknowledged must be in the Maildir
exactly once, byte for byte, and the queue must be empty. Puts have no delivery id here, so an interrupted
put is not retried: its message may or may not exist, but not twice.
"""

from __future__ import annotations

import random
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from maildir_safe._check.torture_folder import Found, TortureDirectory, own_folder, patiently, read_patiently
from maildir_safe._check.torture_ledger import Ledger, TortureReport, reckon
from maildir_safe._check.torture_process import Victim, life
from maildir_safe._check.torture_worker import MAILDIR, RECIPIENT, SENDER, SPOOL
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._queue.queue import Queue
from maildir_safe._queue.store import envelope
from maildir_safe._queue.store.layout import Layout
from maildir_safe.errors import MaildirSafeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from maildir_safe._queue.admin import QueueEntry

LEASE = 3  # seconds, if the mount allows it
DRAIN = 60.0  # seconds that draining may take, in addition to three leases and the time of the killing
_WORKER = "maildir_safe._check.torture_worker"
_FEWEST = 3  # workers: one to stop, one to kill, and one that observes both
_STOPPED = 0.4  # chance at each kill that a worker is stopped, too
_POLL = 1.0


class QueueReport(TortureReport):
    """The result of torturing a queue.

    Attributes:
        workers_killed: the number of kills that hit workers; the others hit putters.
        stopped: how many times a worker was stopped past its lease.
        leases_lost: how many times a worker noticed that it was fenced.
        claims_lost: messages claimed by a fenced worker that belonged to another by then.
        left: the paths of items that are still in the queue.
        lease: the length of a lease, in seconds.
        shared: whether hosts can share a spool on this mount; else the workers ran with shared=False.
    """

    def __init__(self) -> None:
        super().__init__()
        self.workers_killed = 0
        self.stopped = 0
        self.leases_lost = 0
        self.claims_lost = 0
        self.left: list[str] = []
        self.lease = 0
        self.shared = True

    @property
    def wrong(self) -> list[str]:
        """All broken promises, including items that are still in the queue when the time is over."""
        return super().wrong + self.left


def torture_queue(
    path: str,
    seconds: float,
    writers: int,
    seed: int,
    progress: Callable[[float, str], None],
    staging: str | None = None,
) -> QueueReport:
    """Torture a queue in a directory on the mount in question.

    Args:
        path: a directory, in which torture creates a folder of its own, and removes it.
        seconds: how long processes are killed; draining the queue takes additional time.
        writers: the number of concurrent putters, and of workers, of which there are at least three.
        seed: for the random moments.
        progress: called with the share done (0 to 1) and a line of text.
        staging: where messages are written first, as for `Maildir`.

    Raises:
        OSError, TemporaryError: the directory cannot be used.
    """
    report = QueueReport()
    begin = time.monotonic()
    with own_folder(path, report) as base:
        layout = Layout(OsFileSystem(), f"{base}/{SPOOL}", create=True)
        Maildir(f"{base}/{MAILDIR}")
        report.lease, report.shared = max(LEASE, layout.rules.shortest_lease), layout.rules.shareable
        room = TortureDirectory(base)
        crew = _Crew(base, writers, random.Random(seed), report, staging or "")
        try:
            until = crew.wait_until_quiet() + seconds
            while (left := until - time.monotonic()) > 0 and not report.filled:
                progress(1 - left / seconds, f"{report.acknowledged} put, {report.kills} kills")
                crew.strike(until)
                report.filled = not room
            crew.drain(time.monotonic() + seconds + 3 * report.lease + DRAIN, progress)
        finally:
            crew.end()
        progress(1.0, "comparing")
        _compare(base, crew.ledger, report)
    report.seconds = round(time.monotonic() - begin, 3)
    return report


class _Crew:
    """The putters and workers, and the ledger of their acknowledgements."""

    def __init__(
        self, base: str, writers: int, chance: random.Random, report: QueueReport, staging: str
    ) -> None:
        self._base = base
        self._chance = chance
        self._report = report
        self._staging = staging
        self._serial = 0
        self._fenced: set[str] = set()
        self.ledger = Ledger()
        self._how = ["put"] * writers + ["work"] * max(writers, _FEWEST)
        self._life = life(_WORKER, len(self._how))
        self._running: list[Victim] = []
        self._waking: dict[Victim, float] = {}  # the stopped processes, and when they continue
        for how in self._how:
            self._running.append(self._start(how))

    def wait_until_quiet(self) -> float:
        """Wait until all processes, which start at the same time, are working; return the time."""
        time.sleep(self._life / 3)
        return time.monotonic()

    def strike(self, until: float) -> None:
        """Wait for a random moment, and kill a random process."""
        pause = self._chance.expovariate(len(self._how) / self._life)
        time.sleep(max(0.0, min(pause, until - time.monotonic())))
        self._wake()
        if self._report.stopped == 0 or self._chance.random() < _STOPPED:
            self._stop_one(until)
        slot = self._chance.randrange(len(self._running))
        victim, eldest = self._running[slot], self._eldest()
        young = time.monotonic() - eldest.born < 3 * self._report.lease
        if victim not in self._waking and not (victim is eldest and young):
            self._bury(slot)
            self._running[slot] = self._start(self._how[slot])

    def drain(self, until: float, progress: Callable[[float, str], None]) -> None:
        """End putters and kills, and wait until the queue is empty and all stopped workers continue."""
        eldest = self._eldest()
        for slot, how in enumerate(self._how):
            victim = self._running[slot]
            if how == "put" or (victim is not eldest and victim not in self._waking):
                self._bury(slot)
                self._running[slot] = self._start("work")
        self._how = ["work"] * len(self._how)
        queue = _queue(self._base)
        empty = 0
        while empty < 3 and time.monotonic() < until:  # a listing may omit an item that moves
            time.sleep(_POLL)
            self._wake()
            try:
                stats = queue.stats()
            except MaildirSafeError:
                continue
            left = stats["pending"] + stats["claimed"]
            progress(1.0, f"{left} left in the queue, {len(self._waking)} workers stopped")
            empty = empty + 1 if left == 0 and not self._waking else 0

    def end(self) -> None:
        """Kill all processes, without counting that as torture."""
        kills, killed = self._report.kills, self._report.workers_killed
        for slot in range(len(self._running)):
            self._bury(slot)
        self._report.kills, self._report.workers_killed = kills, killed

    def _start(self, how: str) -> Victim:
        self._serial += 1
        if how == "put":
            return Victim(_WORKER, "put", self._base, self._serial)
        shared = "shared" if self._report.shared else "alone"
        return Victim(_WORKER, "work", self._base, self._serial, self._report.lease, shared, self._staging)

    def _bury(self, slot: int) -> None:
        said = self._running[slot].kill()
        self.ledger.enter(said, self._report)
        self._fenced |= {words[1] for words in said if words[0] == "fenced"}
        self._report.leases_lost = len(self._fenced)
        self._report.claims_lost += sum(words[0] == "lost" for words in said)
        self._report.kills += 1
        self._report.workers_killed += self._how[slot] == "work"

    def _awake(self) -> list[Victim]:
        """The workers that are not stopped."""
        pairs = zip(self._running, self._how, strict=True)
        return [victim for victim, how in pairs if how == "work" and victim not in self._waking]

    def _eldest(self) -> Victim:
        """The oldest worker: only a worker that is older than a lease can see that another has stalled."""
        return min(self._awake(), key=lambda victim: victim.born)

    def _stop_one(self, until: float) -> None:
        """Stop a worker, which has begun to work, until it must have been fenced.

        Does nothing if too many are stopped. Except for the first worker, it also does nothing if draining
        would have to wait for the worker.
        """
        now = time.monotonic()
        lease = self._report.lease
        wakes = now + lease * 4 / 3 + min(4.0, lease / 3)  # fenced at the latest after 4/3 of a lease
        eldest = self._eldest()
        able = [one for one in self._awake() if now - one.born > self._life / 6 and one is not eldest]
        free = len(self._waking) < self._how.count("work") // 2
        if able and free and (wakes < until or self._report.stopped == 0):
            victim = self._chance.choice(able)
            victim.signal(signal.SIGSTOP)
            self._waking[victim] = wakes
            self._report.stopped += 1

    def _wake(self) -> None:
        for victim in [victim for victim, when in self._waking.items() if time.monotonic() >= when]:
            victim.signal(signal.SIGCONT)
            del self._waking[victim]


def _queue(base: str) -> Queue:
    """A queue for inspection only."""
    return Queue(f"{base}/{SPOOL}", create=False, shared=False)


def _contents(queue: Queue, entry: QueueEntry) -> bytes:
    return b"".join(queue.contents(entry))


def _compare(base: str, ledger: Ledger, report: QueueReport) -> None:
    found = read_patiently(f"{base}/{MAILDIR}", len(ledger.acknowledged))
    left = Found()
    try:
        queue = _queue(base)
        for entry in patiently(lambda: list(queue.items())):
            left.read(entry.path, partial(_contents, queue, entry))
    except (MaildirSafeError, OSError) as error:
        left.unreadable = [f"{base}/{SPOOL}: {error}"] * (len(ledger.acknowledged) - len(found.messages))
    report.left = sorted(path for path, _ in left.messages)
    unreadable = found.unreadable + left.unreadable
    reckon(found.messages + left.messages, ledger, report, envelope.head(SENDER, [RECIPIENT]), unreadable)
