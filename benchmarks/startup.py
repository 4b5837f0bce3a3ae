"""How long `maildir-safe deliver` takes to start and deliver, in units of a bare ``python3 -c pass``.

    python -m benchmarks.startup [--runs N] [--json]

A mail server starts it once a message, so that start-up is most of what it costs. The commands take
turns, run by run, so that whatever else the machine does hits all of them alike; what counts is the
ratio of the medians. Delivery is into tmpfs (/dev/shm): a disk's fsync would hide the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 2.5
MESSAGE = b"From: ann@example.com\nSubject: start-up\n\n" + b"The body.\n" * 400
ENVELOPE = ["-f", "ann@example.com", "-d", "bob@example.org"]


def measure(commands: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each command, run in turns; raises if one of them fails."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryFile() as message:
        message.write(MESSAGE)
        for run in range(runs + 3):
            for name, command in commands.items():
                message.seek(0)
                start = time.perf_counter()
                subprocess.run(command, stdin=message, env=environment, check=True)
                if run >= 3:  # the first ones fill caches, and write the .pyc files
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def commands(maildir: str) -> dict[str, list[str]]:
    """What is compared: the bare interpreter, the console script, and the command without pip's wrapper."""
    script = Path(sys.executable).parent / "maildir-safe"
    code = "import sys; from maildir_safe._cli import main; sys.exit(main())"
    deliver = ["deliver", *ENVELOPE, maildir]
    return {
        "python3 -c pass": [sys.executable, "-c", "pass"],
        "maildir-safe deliver": [str(script), *deliver],
        "the same by python3 -c": [sys.executable, "-c", code, *deliver],
        "mailbox.Maildir.add": [
            *(sys.executable, "-c"),
            "import mailbox, sys; mailbox.Maildir(sys.argv[1]).add(sys.stdin.buffer)",
            maildir,
        ],
    }


def main() -> int:
    """Measure and report; 1 if the console script is over the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each command (default: 100)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        seconds = measure(commands(f"{directory}/Maildir"), args.runs)
        arrived = len(os.listdir(f"{directory}/Maildir/new"))
    assert arrived == (len(seconds) - 1) * (args.runs + 3), arrived
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    bare = medians["python3 -c pass"]
    ratio = medians["maildir-safe deliver"] / bare
    if args.json:
        print(json.dumps({"medians": medians, "ratio": ratio, "limit": LIMIT, "runs": args.runs}))
    else:
        for name, median in medians.items():
            print(f"{name:<24} {median * 1000:6.2f} ms  {median / bare:5.2f}x")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
