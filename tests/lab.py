"""Every promise on every mount that this machine can bring up: `make lab` (root, Debian, half an hour).

Runs the tests of `FILES` on all kinds of `benchmarks.mounts`, those of other kernels in the emulated
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
FILES = ("mounts", "mounts_delivery", "mounts_mail", "probe", "torture_mounts", "queue_mounts")
# the tests that are a column, and what it is called; the others count too, but only when they fail
COLUMNS = {
    "every_way_in": "delivery: one, groups, asyncio",
    "threads_and_processes_at_once": "many writers, one reader",
    "flags_moves_and_folders": "flags, moves, folders",
    "the_drop_in": "drop-in for `mailbox`",
    "the_janitor_removes_what_is_old_and_nothing_else": "janitor",
    "the_same_id_again_is_one_copy": "same id again: one copy",
    "two_hundred_messages": "200 messages, all of these",
    "killed_writers_lose_and_double_nothing": "torture, 10 s",
    "two_hosts_share_a_spool": "queue of two hosts",
    "the_probe_agrees_with_what_was_measured": "probe as measured",
}
IN_GUEST = ("nfs3", "nfs42", "cifs", "afs", "9p", "vfat")
OUTCOME = re.compile(r"::test_(\w+)\[([\w.-]+)\] (PASSED|FAILED|ERROR)")
VERDICT = re.compile(r"^probe ([\w.-]+): ([A-Z ]*[A-Z])", re.MULTILINE)
CELLS = {"PASSED": "yes", "FAILED": "**no**", "ERROR": "**no**"}
Outcomes = dict[tuple[str, str], str]


def tests(python: str, *options: str) -> list[str]:
    """The command that runs them and prints a line for each."""
    files = [f"tests/system/test_{name}.py" for name in FILES]
    return [python, "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider", *options, *files]


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
            for kind, verdict in VERDICT.findall(line):
                found[kind, "verdict"] = verdict
    if not found:
        raise SystemExit(f"no test ran: {' '.join(command)}")
    return found


def matrix(found: Outcomes) -> str:
    """A table in Markdown: a row for each kind, a column for each promise, and the probe's verdict."""
    kinds = [kind for kind in KINDS if any(kind == row for row, _ in found)]
    lines = [_row("", [*COLUMNS.values(), "verdict of the probe"]), "|---" * (len(COLUMNS) + 2) + "|"]
    for kind in kinds:
        cells = [CELLS.get(found.get((kind, test), ""), "-") for test in COLUMNS]
        lines.append(_row(kind, [*cells, found.get((kind, "verdict"), "-")]))
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
