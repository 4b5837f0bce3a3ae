"""Runs the cases on a mount: short rounds in turn, until the medians are stable; every message verified."""

from __future__ import annotations

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
from maildir_safe.bench.cases import CASES, QUICK, Case, message
from maildir_safe.bench.stats import spread, summary
from maildir_safe.errors import MaildirSafeError
from maildir_safe.fs import OsFileSystem
from maildir_safe.maildir import Maildir
from maildir_safe.maildir.receipt import STEPS

ROUND_SECONDS = 0.6
ROUNDS = (5, 15)  # at least, at most
QUICK_ROUNDS = (5, 5)
STABLE = 0.05  # half the spread of the last five medians' rounds, as a share
STALL = 1.0
FILLED = (10, 10_000)


class Measured:
    """What was measured of one case on one mount."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.per_second: list[float] = []
        self.steps: dict[str, list[float]] = {step: [] for step in STEPS}
        self.durability: set[str] = set()
        self.lost = 0
        self.doubled = 0
        self.stalls = 0
        self.error = ""

    def stable(self) -> bool:
        """Whether more rounds would hardly move the median."""
        return len(self.per_second) >= ROUNDS[0] and spread(self.per_second[-5:]) < STABLE

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        middle = statistics.median(self.per_second) if self.per_second else None
        return {
            "name": self.case.name,
            "safe": self.case.safe,
            "size": self.case.size,
            "per_second": middle,
            "spread": spread(self.per_second) if self.per_second else None,
            "rounds": self.per_second,
            "steps": {step: summary(values) for step, values in self.steps.items() if values},
            "durability": sorted(self.durability),
            "lost": self.lost,
            "doubled": self.doubled,
            "stalls": self.stalls,
            "error": self.error,
        }


def bench(mount: str, quick: bool, progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Measure a mount.

    Args:
        mount: a directory on it; a folder is made there and removed.
        quick: fewer cases and rounds, under 30 seconds.
        progress: called with the share done and a few words.

    Raises:
        OSError: the directory cannot be used.
    """
    fs = OsFileSystem()
    fd = fs.open_dir(mount)
    kind = fs.mount(fd)
    fs.close(fd)
    base = Path(tempfile.mkdtemp(prefix="maildir-safe-bench.", dir=mount))
    measured = [Measured(case) for case in (QUICK if quick else CASES)]
    before = _network_calls(kind.point)
    try:
        _rounds(base, measured, QUICK_ROUNDS if quick else ROUNDS, progress)
        calls = _calls_per_message(base, kind.point)
        filled = {} if quick else {str(count): _filled(base, count) for count in FILLED}
        reading = _reading(base)
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
        "network_calls_per_message": calls if before is not None else None,
    }


def _rounds(
    base: Path, measured: list[Measured], rounds: tuple[int, int], progress: Callable[[float, str], None]
) -> None:
    """In turn, so that what else the machine does meets all cases alike."""
    for turn in range(rounds[1]):
        left = [one for one in measured if not one.error and not (turn >= rounds[0] and one.stable())]
        for number, one in enumerate(left):
            done = (turn + number / max(len(left), 1)) / rounds[1]
            progress(done, f"{one.case.name}, round {turn + 1}")
            try:
                _round(base / f"r{turn}.{number}", one)
            except (OSError, MaildirSafeError) as error:
                one.error = str(error)
    progress(1.0, "done")


def _round(path: Path, one: Measured) -> None:
    case, count, spent = one.case, 0, 0.0
    deliver = case.open(path)
    while spent < ROUND_SECONDS:
        mails = [message(count + number, case.size) for number in range(case.chunk)]
        start = time.perf_counter()
        receipts = deliver(mails)
        took = time.perf_counter() - start
        spent += took
        count += len(mails)
        one.stalls += took > STALL * max(1, len(mails) // 50)
        one.durability |= {receipt.durability for receipt in receipts}
        for receipt in receipts:
            for step, seconds in receipt.seconds.items():
                one.steps[step].append(seconds)
    one.per_second.append(count / spent)
    found = Counter(_numbers(path))
    one.lost += sum(not found[number] for number in range(count))
    one.doubled += sum(times > 1 for times in found.values())
    shutil.rmtree(path, ignore_errors=True)


def _numbers(path: Path) -> list[int]:
    maildir = Maildir(path, create=False)
    boxes = [maildir, *(maildir.folder(name) for name in maildir.folders())]
    numbers = []
    for box in boxes:
        for entry in box.messages():
            with box.open(entry.key) as file:
                numbers.append(int(file.readline()))
    return numbers


def _filled(base: Path, count: int) -> float | None:
    """Messages a second into a Maildir that already holds so many."""
    path = base / f"filled{count}"
    maildir = Maildir(path)
    start = time.perf_counter()
    for _ in range(0, count, 100):
        maildir.deliver_many([b"x\n"] * min(100, count))
        if time.perf_counter() - start > 60:
            return None  # too slow a mount to fill
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        for number in range(40):
            maildir.deliver(message(number, 4096))
        rates.append(40 / (time.perf_counter() - start))
    shutil.rmtree(path, ignore_errors=True)
    return statistics.median(rates)


def _reading(base: Path) -> dict[str, float]:
    """Names listed and messages read a second, of 500."""
    maildir = Maildir(base / "reading")
    maildir.deliver_many([message(number, 4096) for number in range(500)])
    start = time.perf_counter()
    entries = list(maildir.messages())
    listed = time.perf_counter() - start
    start = time.perf_counter()
    for entry in entries:
        with maildir.open(entry.key) as file:
            file.read()
    return {
        "listed_per_second": len(entries) / listed,
        "read_per_second": 500 / (time.perf_counter() - start),
    }


def _network_calls(point: str) -> int | None:
    """Calls over the wire so far, where the kernel counts them (NFS): the sum of per-op counts."""
    try:
        stats = Path("/proc/self/mountstats").read_text()
    except OSError:
        return None
    for block in stats.split("\ndevice "):
        if f" mounted on {point} " in block and "per-op statistics" in block:
            rows = block.partition("per-op statistics")[2].splitlines()
            return sum(int(row.split()[1]) for row in rows if row.strip() and row.split()[1].isdecimal())
    return None


def _calls_per_message(base: Path, point: str) -> float | None:
    """Over 200 deliveries after a first one, which opens the directories."""
    maildir = Maildir(base / "calls")
    maildir.deliver(b"x\n")
    before = _network_calls(point)
    if before is None:
        return None
    for _ in range(200):
        maildir.deliver(b"x" * 4096)
    return ((_network_calls(point) or 0) - before) / 200


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "maildir_safe": __version__,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
