"""Torture: kill writers at random moments, keep a ledger of what they acknowledged, then compare.

The ledger is in the process that does the killing: writers tell it through a pipe what they begin
and what was acknowledged to them, so that a writer's death takes no entry along. What was begun
and not acknowledged is given, with the same delivery id, to the next writer, as an MTA would.
In the end every acknowledged message must be there, byte for byte, once.
"""

from __future__ import annotations

import hashlib
import math
import random
import signal
import subprocess
import sys
import time
from collections import Counter

from maildir_safe.errors import MaildirSafeError
from maildir_safe.fs import FileSystem, OsFileSystem
from maildir_safe.maildir import Maildir
from maildir_safe.maildir.directories import SUBDIRS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

PER_MAILDIR = 400  # a delivery with an id lists new/ and cur/: bounded, so that the pace is kept


class TortureReport:
    """What came of it.

    Attributes:
        acknowledged: messages that a writer was told are delivered.
        kills: writers killed.
        retried: messages that a killed writer had begun, given to the next with the same id.
        lost: acknowledged and not there. doubled: there more than once.
        partial: in new/ or cur/, but not complete. unknown: there, but begun by nobody.
        durability: what the receipts said.
        seconds: how long it took.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.kills = 0
        self.retried = 0
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.partial: list[str] = []
        self.unknown: list[str] = []
        self.errors: Counter[str] = Counter()
        self.durability: set[str] = set()
        self.seconds = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled, partial or of unknown origin, and anything was tried."""
        return self.acknowledged > 0 and not (self.lost or self.doubled or self.partial or self.unknown)

    def bound(self) -> float:
        """The 95 % upper bound of the share of acknowledged messages lost, doubled or partial."""
        return upper_bound(len(self.lost) + len(self.doubled) + len(self.partial), self.acknowledged)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        plain = {**vars(self), "errors": dict(self.errors), "durability": sorted(self.durability)}
        return {**plain, "passed": self.passed, "upper_bound_95": self.bound()}


def upper_bound(bad: int, count: int) -> float:
    """The one-sided 95 % upper bound of a share of which `bad` in `count` were seen (Poisson).

    With none bad it is the rule of three: 3 / count.
    """
    if count == 0:
        return 1.0
    low, high = float(bad), bad + 10.0 + 5 * math.sqrt(bad + 1)
    for _ in range(60):
        mean = (low + high) / 2
        at_most = sum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(bad + 1))
        low, high = (mean, high) if at_most > 0.05 else (low, mean)
    return min(1.0, high / count)


class _Writer:
    """A writer's process, and what it has said so far."""

    def __init__(self, path: str, number: int, leftover: list[str]) -> None:
        command = [sys.executable, "-m", "maildir_safe.check.torture_writer", path, str(number)]
        self.path = path
        self.begun: dict[str, None] = dict.fromkeys(leftover)
        self.acknowledged: set[str] = set()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pipesize=1 << 20
        )
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{key}\n" for key in leftover) + "\n")
        self._process.stdin.flush()

    def kill(self, report: TortureReport) -> None:
        """SIGKILL, then read what was still in the pipe."""
        self._process.send_signal(signal.SIGKILL)
        out, _ = self._process.communicate()
        for line in out.splitlines(keepends=True):
            word, _, rest = line.partition(" ")
            if not line.endswith("\n"):
                continue  # cut off by the kill
            key = rest.split()[0] if rest.split() else ""
            if word == "begin":
                self.begun[key] = None
            elif word == "ack":
                self.acknowledged.add(key)
                report.durability.add(rest.split()[1])
            elif word == "error":
                report.errors[rest.strip()] += 1


def message(key: str) -> bytes:
    """A message that tells whether it is complete: its name, a body made from it, and a digest."""
    body = (hashlib.sha256(key.encode()).hexdigest() + "\n") * (1 + len(key) * 7 % 60)
    text = f"Subject: {key}\nX-Digest: {hashlib.sha256(body.encode()).hexdigest()}\n\n{body}"
    return text.encode("ascii")


def torture(
    path: str, seconds: float, writers: int, seed: int, progress: Callable[[float, str], None]
) -> TortureReport:
    """Torture a directory on the mount in question.

    Args:
        path: works in a sub-folder of its own in this directory, and removes it.
        seconds: how long writers are killed; at least three of their lives, which are long on a slow machine.
        writers: how many at a time.
        seed: of the random moments.
        progress: called with the share done (0 to 1) and a line of text.

    Raises:
        OSError: the directory cannot be used.
    """
    chance = random.Random(seed)
    fs = OsFileSystem()
    above = fs.open_dir(path)
    name = f"maildir-safe-torture-{fs.random(4).hex()}"
    fs.mkdir(name, above)
    base = f"{path}/{name}"
    report = TortureReport()
    begin = fs.monotonic()
    try:
        boxes = _run(base, begin + seconds, begin, writers, chance, report, progress)
        for box, (begun, acknowledged) in boxes.items():
            _compare(box, begun, acknowledged, report)
    finally:
        try:
            remove_tree(fs, name, above)
        except OSError:
            pass  # what resists is left there: it must not hide what was found
        fs.close(above)
    report.seconds = round(fs.monotonic() - begin, 3)
    return report


def _run(
    base: str,
    until: float,
    begin: float,
    writers: int,
    chance: random.Random,
    report: TortureReport,
    progress: Callable[[float, str], None],
) -> dict[str, tuple[set[str], set[str]]]:
    """Start and kill writers; for each Maildir what was begun in it and what acknowledged."""
    boxes: dict[str, tuple[set[str], set[str]]] = {}
    life = _life(writers)
    pace, until = writers / life, max(until, begin + 3 * life)
    paths = [f"{base}/m{number}" for number in range(writers)]
    serial = len(paths)
    running = [_Writer(path, number, []) for number, path in enumerate(paths)]
    try:
        while (now := time.monotonic()) < until:
            progress(
                (now - begin) / (until - begin), f"{report.acknowledged} delivered, {report.kills} kills"
            )
            time.sleep(min(chance.expovariate(pace), until - now))
            slot = chance.randrange(writers)
            writer = running[slot]
            leftover = _bury(writer, boxes, report)
            report.retried += len(leftover)
            path = writer.path
            if not leftover and len(boxes[path][0]) > PER_MAILDIR:
                path = f"{base}/m{serial}"
            serial += 1
            running[slot] = _Writer(path, serial, leftover)
    finally:
        for writer in running:
            _bury(writer, boxes, report)
    progress(1.0, "comparing")
    return boxes


def _life(writers: int) -> float:
    """Seconds that a writer lives on average: on a slow machine it must come to deliver at all."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import maildir_safe.check.torture_writer"], check=True)
    return max(1.0, 3 * writers * (time.monotonic() - start))  # they start at the same time


def _bury(writer: _Writer, boxes: dict[str, tuple[set[str], set[str]]], report: TortureReport) -> list[str]:
    """Kill a writer and enter what it said; what it had begun and was not told of."""
    writer.kill(report)
    report.kills += 1
    begun, acknowledged = boxes.setdefault(writer.path, (set(), set()))
    begun |= set(writer.begun)
    acknowledged |= writer.acknowledged
    report.acknowledged += len(writer.acknowledged)
    return [key for key in writer.begun if key not in writer.acknowledged]


def _compare(box: str, begun: set[str], acknowledged: set[str], report: TortureReport) -> None:
    found: Counter[str] = Counter()
    try:
        read = _patiently(lambda: _read_all(box)) if acknowledged else _read_all(box)
    except (MaildirSafeError, OSError):  # killed before it was made, or really gone
        read = []
    for name, data in read:
        key = data.partition(b"\n")[0].removeprefix(b"Subject: ").decode("ascii", "replace")
        if key not in begun:
            (report.partial if len(data) < 10 else report.unknown).append(f"{box}: {name}")
        elif data != message(key):
            report.partial.append(key)
        else:
            found[key] += 1
    report.lost += sorted(key for key in acknowledged if not found[key])
    report.doubled += sorted(key for key, count in found.items() if count > 1)


def _read_all(box: str) -> list[tuple[str, bytes]]:
    """Every message of a Maildir: the name of its file, and what is in it."""
    maildir = Maildir(box, create=False)
    found = []
    for entry in maildir.messages():
        with maildir.open(entry.key) as file:
            found.append((entry.name, file.read()))
    return found


def _patiently(call: Callable[[], T]) -> T:
    """Try again for some seconds: what fails for a moment has lost nothing yet (smbnetfs: 3 s)."""
    for pause in (1.0, 2.0, 4.0, 8.0):
        try:
            return call()
        except (MaildirSafeError, OSError):
            time.sleep(pause)
    return call()


def remove_tree(fs: FileSystem, name: str, above: int) -> None:
    """Remove a directory that this module made, with its Maildirs; links are never followed."""
    here = fs.open_dir(name, above)
    try:
        for entry in fs.listdir(here):
            box = fs.open_dir(entry, here)
            for subdir in SUBDIRS:
                _empty(fs, subdir, box)
            fs.close(box)
            fs.rmdir(entry, here)
    finally:
        fs.close(here)
    fs.rmdir(name, above)


def _empty(fs: FileSystem, subdir: str, box: int) -> None:
    try:
        inside = fs.open_dir(subdir, box)
    except FileNotFoundError:
        return
    for entry in fs.listdir(inside):
        fs.unlink(entry, inside)
    fs.close(inside)
    fs.rmdir(subdir, box)
