"""Runs the cases on a mount in short alternating rounds until the medians are stable; verifies messages."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maildir_safe import __version__
from maildir_safe._bench.cases import CASES, QUICK, Case, message
from maildir_safe._bench.network import calls_per_message
from maildir_safe._bench.queueing import Cycle
from maildir_safe._bench.stats import spread, summary
from maildir_safe._delivery.receipt import STEPS, Receipt
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.maildir import Maildir
from maildir_safe.errors import MaildirSafeError

ROUND_SECONDS = 0.6
QUICK_SECONDS = 0.3
ROUNDS = (5, 15)  # at least, at most
QUICK_ROUNDS = (5, 5)
LONGEST, QUICK_LONGEST = 600.0, 15.0  # seconds for all rounds on a mount; slow cases get fewer
STABLE = 0.05  # half the spread of the last five medians' rounds, as a share
STALL = 1.0
TOO_SLOW = "not measured: the mount is too slow for the time there was"
FILLED = (10, 10_000, 100_000)
FILL_LONGEST, FAST = 60.0, 2000.0  # seconds; messages a second at which the largest directory is filled
_SHARE = 0.8  # the share of the progress that the rounds are; filling directories is the rest


class Measured:
    """The measurements of one case on one mount."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.per_second: list[float] = []
        self.steps: dict[str, list[float]] = {step: [] for step in STEPS}
        self.durability: set[str] = set()
        self.lost = 0
        self.doubled = 0
        self.stalls = 0
        self.error = ""
        self.longest = 0.0

    def add(self, receipts: list[Receipt], took: float) -> None:
        """Call a function; return its result and the seconds that it took."""
        single = [receipt.seconds for receipt in receipts if receipt.seconds]
        for seconds in single:
            for step, value in seconds.items():
                self.steps[step].append(value)
        stalled = sum(sum(seconds.values()) > STALL for seconds in single)
        self.stalls += stalled if single else took > STALL * max(1, self.case.chunk // 10)
        self.durability |= {receipt.durability for receipt in receipts}

    def stable(self) -> bool:
        """Whether more rounds would hardly change the median."""
        return len(self.per_second) >= ROUNDS[0] and spread(self.per_second[-5:]) < STABLE

    def as_dict(self) -> dict[str, Any]:
        """Return the measurements as plain data, for JSON."""
        middle = statistics.median(self.per_second) if self.per_second else None
        return {
            "name": self.case.name,
            "safe": self.case.safe,
            "size": self.case.size,
            "per_second": middle,
            "spread": spread(self.per_second) if len(self.per_second) > 1 else None,
            "rounds": self.per_second,
            "steps": {step: summary(values) for step, values in self.steps.items() if values},
            "durability": sorted(self.durability),
            "lost": self.lost,
            "doubled": self.doubled,
            "stalls": self.stalls,
            "error": self.error,
        }


def bench(
    mount: str, quick: bool, progress: Callable[[float, str], None], staging: str | None = None
) -> dict[str, Any]:
    """Measure a mount.

    Args:
        mount: a directory on it; a folder is made there and removed.
        quick: fewer cases and shorter rounds, under 30 seconds.
        progress: called with the share done and a few words.
        staging: where messages are written first, as for `Maildir`.

    Raises:
        OSError: the directory cannot be used.
    """
    fs = OsFileSystem()
    fd = fs.open_dir(mount)
    kind = fs.mount(fd)
    fs.close(fd)
    base = Path(tempfile.mkdtemp(prefix="maildir-safe-bench.", dir=mount))
    measured = [Measured(case) for case in (QUICK if quick else CASES)]
    try:
        Rounds(base, measured, quick, progress, staging).run()
        progress(_SHARE, "network calls")
        calls = _tried(lambda: calls_per_message(base, kind, staging))
        filled = {} if quick else _tried(lambda: _all_filled(base, progress, staging)) or {}
        progress(0.98, "reading")
        reading = _tried(lambda: _reading(base, 100 if quick else 500, staging)) or {}
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return {
        "path": mount,
        "fstype": kind.fstype,
        "source": kind.source,
        "options": kind.options,
        "cases": [one.as_dict() for one in measured],
        "filled": filled,
        "reading": reading,
        "network_calls_per_message": calls,
    }


def _tried(measure: Callable[[], Any]) -> Any:
    """None where the mount fails: what else was measured is not lost for it."""
    try:
        return measure()
    except (OSError, MaildirSafeError):
        return None


class Rounds:
    """All cases in turn, so that what else the machine does meets them alike.

    Args:
        base: where Maildirs are made and removed.
        measured: the measurements to fill in.
        quick: few and short rounds.
        progress, staging: as for `bench`.
    """

    def __init__(
        self,
        base: Path,
        measured: list[Measured],
        quick: bool,
        progress: Callable[[float, str], None],
        staging: str | None = None,
    ) -> None:
        self._base = base
        self._measured = measured
        self._seconds = QUICK_SECONDS if quick else ROUND_SECONDS
        self._least, self._most = QUICK_ROUNDS if quick else ROUNDS
        self._longest = QUICK_LONGEST if quick else LONGEST
        self._progress = progress
        self._staging = staging
        self._started = time.perf_counter()

    def run(self) -> None:
        """Run rounds until the medians are stable or the time is up."""
        for turn in range(self._most):
            for one in self._measured:
                if not one.error and not (turn >= self._least and one.stable()):
                    self._report_progress(turn, one)
                    self._one(turn, one)

    def _report_progress(self, turn: int, one: Measured) -> None:
        """What is done of the rounds, or of the time if that will be up first."""
        at = (turn + self._measured.index(one) / len(self._measured)) / self._most
        late = (time.perf_counter() - self._started) / self._longest
        self._progress(_SHARE * min(1.0, max(at, late)), f"{one.case.name}, round {turn + 1}")

    def _one(self, turn: int, one: Measured) -> None:
        left = self._longest - (time.perf_counter() - self._started)
        if self._needs(one) > left:
            if not one.per_second:
                one.error = TOO_SLOW
            return
        path = self._base / f"r{turn}.{self._measured.index(one)}"
        start = time.perf_counter()
        try:
            _round(path, one, self._seconds, self._staging)
        except (OSError, MaildirSafeError) as error:
            one.error = str(error)
        # otherwise a removed file may still be open, which breaks davfs2 (docs/reference/file-systems.md)
        gc.collect()
        shutil.rmtree(path, ignore_errors=True)
        one.longest = max(one.longest, time.perf_counter() - start)

    def _needs(self, one: Measured) -> float:
        """Seconds that its next round takes: as long as the last; before that, by the first case's pace."""
        first = self._measured[0]
        if one.longest or not first.per_second:
            return one.longest
        return max(self._seconds, one.case.chunk / first.per_second[0])


def _round(path: Path, one: Measured, least: float, staging: str | None = None) -> None:
    case, count, spent = one.case, 0, 0.0
    deliver = case.open(path, staging)
    while spent < least:
        mails = [message(count + number, case.size) for number in range(case.chunk)]
        start = time.perf_counter()
        receipts = deliver(mails)
        took = time.perf_counter() - start
        spent += took
        count += len(mails)
        one.add(receipts, took)
    one.per_second.append(count / spent)
    found = Counter(deliver.numbers if isinstance(deliver, Cycle) else _numbers(path))
    one.lost += sum(not found[number] for number in range(count))
    one.doubled += sum(times > 1 for times in found.values())


def _numbers(path: Path) -> list[int]:
    maildir = Maildir(path, create=False)
    boxes = [maildir, *(maildir.folder(name) for name in maildir.folders())]
    numbers = []
    for box in boxes:
        for entry in box.messages():
            with box.open(entry.key) as file:
                numbers.append(int(file.readline()))
    return numbers


def _all_filled(
    base: Path, progress: Callable[[float, str], None], staging: str | None = None
) -> dict[str, Any]:
    """Measure by the number of messages that a Maildir already holds; the largest only on a fast mount."""
    found: dict[str, Any] = {}
    pace = FAST
    for number, count in enumerate(FILLED):
        if count == FILLED[-1] and pace < FAST:
            break
        progress(_SHARE + 0.06 * number, f"a directory of {count:,}")
        maildir = Maildir(base / f"filled{count}", staging=staging)
        start = time.perf_counter()
        for _ in range(0, count, 100):
            maildir.deliver_many([b"x\n"] * min(100, count))
            if time.perf_counter() - start > FILL_LONGEST:
                return found  # the mount is too slow to fill
        pace = count / (time.perf_counter() - start) if count >= 1000 else pace
        found[str(count)] = _into(maildir)
        shutil.rmtree(maildir.path, ignore_errors=True)
    return found


def _into(maildir: Maildir) -> dict[str, Any]:
    """Measure messages per second into a Maildir that already holds some, and names listed per second."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for number in range(40):
            maildir.deliver(message(number, 4096))
        rounds.append(40 / (time.perf_counter() - start))
    start = time.perf_counter()
    listed = sum(1 for _ in maildir.messages()) / (time.perf_counter() - start)
    return {
        "per_second": statistics.median(rounds),
        "spread": spread(rounds),
        "rounds": rounds,
        "listed_per_second": listed,
    }


def _reading(base: Path, count: int, staging: str | None) -> dict[str, float]:
    """Measure names listed and messages read per second."""
    maildir = Maildir(base / "reading", staging=staging)
    maildir.deliver_many([message(number, 4096) for number in range(count)])
    start = time.perf_counter()
    entries = list(maildir.messages())
    listed = time.perf_counter() - start
    start = time.perf_counter()
    for entry in entries:
        with maildir.open(entry.key) as file:
            file.read()
    return {
        "listed_per_second": len(entries) / listed,
        "read_per_second": count / (time.perf_counter() - start),
    }


def environment() -> dict[str, Any]:
    """Return the facts on which the figures depend."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "maildir_safe": __version__,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
