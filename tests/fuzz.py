"""Throws random bytes at all that reads what strangers send, for as long as you like; not in CI.

.venv/bin/python -m tests.fuzz [MINUTES]        10 by default

The tests marked `fuzz` (sessions of SMTP and LMTP over sockets, the end of DATA, addresses, trace
headers, mailbox names; messages, their parts, HTML and file names on the inbox page) run in rounds, each
with another seed. It ends with the first round that
ends after MINUTES, or with the first failure: hypothesis prints the smallest bytes that make it fail, and
the seed repeats the round.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = 300
HERE = Path(__file__).parent


def main() -> int:
    """0 if nothing was found."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    start = time.monotonic()
    total = 0
    while (passed := time.monotonic() - start) < 60 * minutes:
        seed = random.randrange(2**32)
        status, output = one_round(seed)
        total += sum(map(int, re.findall(r"(\d+) passing, ", output)))
        if status:
            print(output)
            print(f"seed {seed}: found something after {passed / 60:.1f} minutes and {total} examples")
            return 1
        print(f"seed {seed}: {total} examples in {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    print("nothing was found")
    return 0


def one_round(seed: int) -> tuple[int, str]:
    """pytest's exit status and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "fuzz", "--timeout", "3600", str(HERE / "unit")]
    run = subprocess.run(
        [*command, f"--hypothesis-seed={seed}", "--hypothesis-show-statistics"],
        env={**os.environ, "FUZZ_EXAMPLES": str(EXAMPLES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


if __name__ == "__main__":
    sys.exit(main())
