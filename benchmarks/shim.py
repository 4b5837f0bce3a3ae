"""What `maildir-safe run` costs: procmail and maildrop with and without it, on ext4 and in memory.

python -m benchmarks.shim [--rounds N] [--messages N]      (root, Debian: procmail, maildrop, gcc)

One supervisor runs a shell that starts the program once a message, as a mail server that is itself
under the shim does. Rounds with and without are paired and alternate; a ratio is the median of the
rounds' ratios, by the clock and by the processors' time, which another load does not change. Where
links work the shim makes the program's link itself; "renamed" is the same with the supervisor's
links refused by a filter (tests/shim/refuse.py).
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.mounts import MountError, mounted

MESSAGE = b"From: a@example.org\nTo: b@example.org\nSubject: s\n\n" + b"x" * 4000 + b"\n"
RUN = [sys.executable, "-m", "maildir_safe", "run", "--"]
REFUSE = [sys.executable, str(Path(__file__).parents[1] / "tests/shim/refuse.py"), "1"]
WAYS = {"plain": [], "shim": RUN, "shim, renamed": [*REFUSE, *RUN]}
CALLS = """
import os, sys
for _ in range(int(sys.argv[1])):
    try:
        os.unlink("/nonexistent/x")
    except OSError:
        pass
"""


def deliver(files: Path, box: Path, program: str, count: int, at_once: int) -> list[str]:
    """The command that delivers so many messages."""
    if program == "procmail":
        one = f"procmail -m DEFAULT={box}/ ORGMAIL=/dev/null LOGFILE=/dev/null /dev/null"
    else:
        (files / "rc").write_text(f'to "{box}/"\n')
        (files / "rc").chmod(0o600)
        one = f"maildrop {files}/rc"
    loop = f"i=0; while [ $i -lt {count // at_once} ]; do {one} < {files}/m; i=$((i+1)); done"
    script = files / "script"
    script.write_text(f"j=0; while [ $j -lt {at_once} ]; do ( {loop} ) & j=$((j+1)); done; wait\n")
    return ["sh", str(script)]


def timed(command: list[str]) -> float:
    """Seconds that a command takes."""
    return measured(command)[0]


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds that a command takes by the clock, and of the processors: of it and all its children."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, work


def start_up(prefix: list[str]) -> tuple[float, float]:
    """What `measured` says of the supervisor's own start and end, as a rule: not a message's cost.

    Not the least, since the rounds are compared by their medians.
    """
    if not prefix:
        return 0.0, 0.0
    seconds, work = zip(*(measured([*prefix, "true"]) for _ in range(15)), strict=True)
    return statistics.median(seconds), statistics.median(work)


def compare(
    base: Path, program: str, count: int, rounds: int, at_once: int
) -> dict[str, list[tuple[float, float]]]:
    """What `measured` says, a message, by way and round; the ways alternate within a round."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    starting = {way: start_up(prefix) for way, prefix in WAYS.items()}
    with tempfile.TemporaryDirectory() as name:
        files = Path(name)
        (files / "m").write_bytes(MESSAGE)
        for number in range(rounds + 1):
            for way, prefix in WAYS.items():
                box = Path(tempfile.mkdtemp(dir=base)) / "box"
                for part in ("tmp", "new", "cur"):
                    (box / part).mkdir(parents=True)
                seconds, work = measured([*prefix, *deliver(files, box, program, count, at_once)])
                done = len(list((box / "new").iterdir()))
                if done != count // at_once * at_once:
                    raise SystemExit(f"{program}, {way}: {done} of {count} were delivered")
                shutil.rmtree(box.parent)
                if number:  # the first warms up
                    mine = (seconds - starting[way][0], work - starting[way][1])
                    found[way].append((mine[0] / count, mine[1] / count))
    return found


def bare(count: int = 20000) -> tuple[float, float]:
    """Seconds of an unlink that finds nothing: as it is, and caught and left to the kernel."""
    python = [sys.executable, "-c", CALLS]
    both = []
    for prefix in ([], RUN):
        empty = min(timed([*prefix, *python, "0"]) for _ in range(3))
        both.append((min(timed([*prefix, *python, str(count)]) for _ in range(3)) - empty) / count)
    return both[0], both[1]


def table(name: str, base: Path, args: argparse.Namespace) -> None:
    """Print the rows of one file system."""
    for at_once in (1, 16):
        for program in ("procmail", "maildrop"):
            found = compare(base, program, args.messages, args.rounds, at_once)
            cells = []
            for kind in (0, 1):
                plain = [round[kind] for round in found["plain"]]
                cells.append(f"{statistics.median(plain) * 1e3:.2f} ms")
                for way in list(WAYS)[1:]:
                    ratios = [ours[kind] / theirs for ours, theirs in zip(found[way], plain, strict=True)]
                    cells.append(f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})")
            print(f"| {name} | {program} | {at_once} | " + " | ".join(cells) + " |", flush=True)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=160)
    args = parser.parse_args()
    plain, caught = bare()
    more = (caught - plain) * 1e6
    print(f"a caught call that is left to the kernel: {more:.0f} us more than {plain * 1e6:.1f} us")
    print(f"starting and ending a supervisor: {start_up(RUN)[0] * 1e3:.0f} ms\n")
    heads = [f"{kind}, {way}" for kind in ("clock", "processor") for way in WAYS]
    print("| file system | program | at once | " + " | ".join(heads) + " |")
    print("|---" * (3 + len(heads)) + "|")
    for name in ("ext4", "tmpfs"):
        try:
            with mounted(name) as mount:
                table(name, mount.folder(), args)
        except MountError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
