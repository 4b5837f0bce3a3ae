"""The figures to reach: each a number taken from this run, and what it has to be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.deliver_contenders import SINGLE, SIX_CALLS, STDLIB, group_ceiling, many, tasks, threads
from benchmarks.deliver_rounds import SIZE, Series, ratio
from benchmarks.peers.programs import OURS


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        what: in words.
        target: what it has to be: at least, or at most, this.
        value: what it is; None if it could not be taken.
        detail: where the value comes from, or why there is none.
    """

    what: str
    target: float
    value: float | None
    detail: str = ""
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """``"PASS"``, ``"FAIL"``, or ``"not measured"``."""
        if self.value is None or self.value != self.value:
            return "not measured"
        good = self.value <= self.target if self.at_most else self.value >= self.target
        return "PASS" if good else "FAIL"


# mount, ours, the other, ours is to be at least this many times as fast
_RATIOS = (
    ("ext4", SINGLE, SIX_CALLS, 0.85),
    ("ext4", many(32), group_ceiling(32), 0.85),
    ("ext4", many(32), STDLIB, 5.0),
    ("ext4", many(128), STDLIB, 10.0),
    ("ext4", threads(SINGLE, 8), threads(STDLIB, 8), 1.0),
    ("ext4", tasks(128), threads(STDLIB, 128), 3.0),
    ("tmpfs", SINGLE, STDLIB, 1.0),
    ("tmpfs", tasks(1), STDLIB, 0.8),
)


def speed_figures(results: Mapping[str, Mapping[str, Series]]) -> list[Figure]:
    """The figures that compare two contenders, as far as their mount was measured."""
    figures = []
    for mount, ours, theirs, target in _RATIOS:
        if mount in results:
            value = ratio(results[mount][ours], results[mount][theirs])
            figures.append(Figure(f"{mount}: {ours} / {theirs}", target, value))
    return figures


_DELIVER = f"""
import sys
from maildir_safe import Maildir
box = Maildir(sys.argv[1])
for _ in range(int(sys.argv[2])):
    box.deliver(bytes({SIZE}))
"""


def system_calls(folder: Path) -> Figure:
    """System calls a message, by strace: what 200 messages more cost."""
    what = "system calls a message, single stream"
    if shutil.which("strace") is None:
        return Figure(what, 8, None, "strace is not installed", at_most=True)
    few, more = _traced(folder, 100), _traced(folder, 300)
    each = {call: (count - few.get(call, 0)) / 200 for call, count in more.items()}
    detail = ", ".join(f"{call} {count:g}" for call, count in each.items() if count >= 0.5)
    return Figure(what, 8, round(sum(each.values()), 2), detail, at_most=True)


def _traced(folder: Path, messages: int) -> dict[str, int]:
    """System calls by name of a process that delivers so many messages."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        table = Path(place) / "strace"
        child = [sys.executable, "-c", _DELIVER, f"{place}/box", str(messages)]
        subprocess.run(["strace", "-f", "-c", "-o", table, *child], check=True)
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*?(\w+)$", table.read_text(), re.MULTILINE)
    return {call: int(count) for count, call in rows if call != "total"}


# a child begins with what its parent held (getrusage(2)), so the parent is small: not the benchmark
_LAUNCHER = """
import resource, subprocess, sys
with open(sys.argv[1], "rb") as message:
    subprocess.run(sys.argv[2:], stdin=message, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def memory(folder: Path) -> Figure:
    """MiB resident while the command delivers 1 GiB."""
    what = "MiB resident: maildir-safe deliver, 1 GiB message"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source = Path(place) / "message"
        source.write_bytes(b"Subject: long\n\n")
        os.truncate(source, 1 << 30)
        launch = [sys.executable, "-c", _LAUNCHER, str(source), OURS, "deliver", f"{place}/box"]
        kib = int(subprocess.run(launch, check=True, stdout=subprocess.PIPE).stdout)
        (delivered,) = Path(place, "box", "new").iterdir()
        if delivered.stat().st_size < 1 << 30:
            return Figure(what, 60, None, "it was not delivered whole", at_most=True)
    return Figure(what, 60, round(kib / 1024, 1), at_most=True)


def startup() -> Figure:
    """The command's time to start and deliver, in units of a bare interpreter's; see `benchmarks.startup`."""
    measure = [sys.executable, "-m", "benchmarks.startup", "--json"]
    found = json.loads(subprocess.run(measure, check=False, stdout=subprocess.PIPE).stdout)
    what = "maildir-safe deliver / python3 -c pass, start to end"
    return Figure(what, found["limit"], round(found["ratio"], 2), f"{found['runs']} runs", at_most=True)
