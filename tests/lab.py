"""Every promise on every mount that this machine can bring up: `make lab` (root, Debian, half an hour).

Runs the tests of `PROMISES` on all kinds of `benchmarks.mounts`, those of other kernels in the emulated
guest, and writes what passed into docs/filesystems.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.mounts import KINDS

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "docs" / "filesystems.md"
BEGIN, END = "<!-- matrix: written by `make lab` -->\n", "<!-- end of matrix -->\n"
PROMISES = tuple(f"tests/system/test_{name}.py" for name in ("mounts", "mounts_delivery", "probe"))
IN_GUEST = ("nfs3", "nfs42", "cifs", "afs", "9p", "vfat")
OUTCOME = re.compile(r"::test_(\w+)\[([\w.-]+)\] (PASSED|FAILED|ERROR)")
CELLS = {"PASSED": "yes", "FAILED": "**no**", "ERROR": "**no**"}
Outcomes = dict[tuple[str, str], str]


def tests(python: str, *options: str) -> list[str]:
    """The command that runs them and prints a line for each."""
    return [python, "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider", *options, *PROMISES]


def run(command: list[str], **env: str) -> Outcomes:
    """Run the tests, pass their output on, and gather it."""
    found: Outcomes = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, env={**os.environ, **env}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            for test, kind, outcome in OUTCOME.findall(line):
                if kind in KINDS:
                    found[kind, test] = outcome
    if not found:
        raise SystemExit(f"no test ran: {' '.join(command)}")
    return found


def matrix(found: Outcomes) -> str:
    """A table in Markdown: a row for each kind, a column for each test that ran on most of them."""
    kinds = [kind for kind in KINDS if any(kind == row for row, _ in found)]
    everywhere = list(dict.fromkeys(test for _, test in found))
    names = [test for test in everywhere if 2 * sum((kind, test) in found for kind in kinds) > len(kinds)]
    lines = [
        "| | " + " | ".join(test.replace("_", " ") for test in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for kind in kinds:
        lines.append(_row(kind, [CELLS.get(found.get((kind, test), ""), "-") for test in names]))
    return "\n".join(lines) + "\n"


def _row(head: str, cells: list[str]) -> str:
    return f"| {head} | {' | '.join(cells)} |"


def write(table: str) -> None:
    """Put the table into the report, in place of the last one."""
    text = REPORT.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    when = datetime.now(UTC).strftime("%-d %B %Y")
    REPORT.write_text(
        f"{before}{BEGIN}Run on {when}, Linux {os.uname().release}; in the guest: 6.1.\n\n{table}{after}"
    )


def main() -> int:
    """Run, write, and fail if any promise did not hold."""
    found = run(tests(sys.executable), MOUNTS="all")
    guest = [
        sys.executable,
        "-m",
        "benchmarks.mounts",
        "guest",
        "--timeout",
        "1800",
        "--fs",
        ",".join(IN_GUEST),
    ]
    found |= run([*guest, "--", *tests("python3")])
    write(matrix(found))
    return int(any(outcome in ("FAILED", "ERROR") for outcome in found.values()))


if __name__ == "__main__":
    sys.exit(main())
