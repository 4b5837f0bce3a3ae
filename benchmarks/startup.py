"""How long `maildir-safe deliver` and `sendmail` take, in units of a bare ``python3 -c pass``.

    python -m benchmarks.startup [--runs N] [--json]

They start once a message, so that start-up is most of what they cost. The commands take turns, run by run,
so that whatever else the machine does hits all of them alike; what counts is the ratio of the medians of
their processor time. Maildir and spool are on tmpfs (/dev/shm): a disk's fsync would hide the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from maildir_safe import Queue

LIMIT = 1.5
IMPORT_LIMIT = 0.4  # of `import maildir_safe` and one delivery, in units of `import mailbox` and one add
MESSAGE = b"From: ann@example.com\nTo: Bob <bob@example.org>\nSubject: start-up\n\n" + b"The body.\n" * 400
ENVELOPE = ["-f", "ann@example.com", "-d", "bob@example.org"]


def measure(commands: dict[str, list[str]], runs: int, config: str) -> dict[str, list[float]]:
    """Processor seconds of each run of each command, run in turns; raises if one of them fails."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["MAILDIR_SAFE_SENDMAIL_CONFIG"] = config
    with tempfile.TemporaryFile() as message:
        message.write(MESSAGE)
        for run in range(runs + 3):
            for name, command in commands.items():
                message.seek(0)
                before = _processor_time()
                subprocess.run(command, stdin=message, env=environment, check=True)
                if run >= 3:  # the first ones fill caches, and write the .pyc files
                    seconds[name].append(_processor_time() - before)
    return seconds


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands(maildir: str, spool: str) -> dict[str, list[str]]:
    """What is compared: the bare interpreter, the installed command, and a put by a program of one's own."""
    script = Path(sys.executable).parent / "maildir-safe"
    put = (
        "import sys; from maildir_safe import Queue; Queue(sys.argv[1]).put(sys.stdin.buffer, 'a@b', ['c@d'])"
    )
    import_us = "import sys; from maildir_safe import Maildir; Maildir(sys.argv[1]).deliver(sys.stdin.buffer)"
    deliver = ["deliver", *ENVELOPE, maildir]
    return {
        "python3 -c pass": [sys.executable, "-c", "pass"],
        "maildir-safe deliver": [str(script), *deliver],
        "maildir-safe sendmail -t": [str(script), "sendmail", "-ti"],
        "Queue(spool).put": [sys.executable, "-c", put, spool],
        "Maildir.deliver": [sys.executable, "-c", import_us, maildir],
        "mailbox.Maildir.add": [
            *(sys.executable, "-c"),
            "import mailbox, sys; mailbox.Maildir(sys.argv[1]).add(sys.stdin.buffer)",
            maildir,
        ],
    }


def main() -> int:
    """Measure and report; 1 if `deliver` or `sendmail` is over the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each command (default: 100)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        maildir, spool = f"{directory}/Maildir", f"{directory}/spool"
        config = Path(directory, "sendmail.toml")
        config.write_text(f'spool = "{spool}"\ndomain = "example.com"\n')
        Queue(spool).close()
        seconds = measure(commands(maildir, spool), args.runs, str(config))
        arrived = len(os.listdir(f"{maildir}/new")) + sum(1 for _ in Queue(spool).items())
    assert arrived == (len(seconds) - 1) * (args.runs + 3), arrived
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    bare = medians["python3 -c pass"]
    ratio = medians["maildir-safe deliver"] / bare
    worst = max(ratio, medians["maildir-safe sendmail -t"] / bare)
    imported = medians["Maildir.deliver"] / medians["mailbox.Maildir.add"]
    if args.json:
        found = {"medians": medians, "ratio": ratio, "limit": LIMIT, "imported": imported, "runs": args.runs}
        print(json.dumps(found))
    else:
        for name, median in medians.items():
            print(f"{name:<24} {median * 1000:6.2f} ms  {median / bare:5.2f}x")
        print(f"Maildir.deliver / mailbox.Maildir.add: {imported:.2f} (at most {IMPORT_LIMIT})")
    return 0 if worst <= LIMIT and imported <= IMPORT_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
