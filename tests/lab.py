"""Every promise on every mount that this machine can bring up: `make lab` (root, Debian, half an hour).

    python -m tests.lab                all kinds of `benchmarks.mounts`; the matrix goes into docs/reference
    python -m tests.lab ext4 nfs42     only these; the matrix is printed

Each kind has a process and a time limit of its own, those of other kernels an emulated guest of their own,
so that none holds up the others. The exit status is 0 if all promises held but those of `KNOWN`, and those
still do not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.mounts import IN_GUEST, KINDS, install, kernel_knows

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "docs/reference/file-systems.md"
BEGIN, END = "<!-- matrix: written by `make lab` -->\n", "<!-- end of matrix -->\n"
FILES = ("mounts", "mounts_delivery", "mounts_mail", "probe", "torture_mounts", "queue_race", "queue_mounts")
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
    "a_queue_of_killed_and_stopped_processes_loses_and_doubles_nothing": "torture of a queue, 10 s",
    "the_race_ends_as_the_queue_believes": "race of two hosts as the queue believes",
    "two_hosts_share_a_spool": "queue of two hosts",
    "the_probe_agrees_with_what_was_measured": "probe as measured",
}
# what is known to fail, and why (docs/reference/file-systems.md, Exceptions)
KNOWN = {
    ("fusefat", test): "renaming a directory empties it"
    for test in (
        "every_way_in",
        "threads_and_processes_at_once",
        "flags_moves_and_folders",
        "the_drop_in",
        "the_janitor_removes_what_is_old_and_nothing_else",
        "the_same_id_again_is_one_copy",
        "two_hundred_messages",
        "a_queue_of_killed_and_stopped_processes_loses_and_doubles_nothing",
    )
}
LONGEST = 1200  # seconds for all tests of one kind
LONGEST_IN_GUEST = 1800  # on a processor that is 20 times slower
OUTCOME = re.compile(r"::test_(\w+)\[([\w.-]+)\] (PASSED|FAILED|ERROR)")
VERDICT = re.compile(r"^probe ([\w.-]+): ([A-Z ]*[A-Z])", re.MULTILINE)
CELLS = {"PASSED": "yes", "FAILED": "**no**", "ERROR": "**no**"}
Outcomes = dict[tuple[str, str], str]


def command(kind: str) -> list[str]:
    """What brings a kind up, runs its tests with a line for each, and takes it down."""
    guest = kind in IN_GUEST
    mounts = [sys.executable, "-m", "benchmarks.mounts", "guest" if guest else "run", "--fs", kind]
    mounts += ["--timeout", str(LONGEST_IN_GUEST)] if guest else []
    tests = ["python3" if guest else sys.executable, "-m", "pytest", "-v", "--color=no"]
    tests += ["--timeout", "900"] if guest else []
    files = [f"tests/system/test_{name}.py" for name in FILES]
    return [*mounts, "--", *tests, "-p", "no:cacheprovider", "-k", f"[{kind}]", *files]


def run(kind: str) -> Outcomes:
    """Run a kind's tests, pass their output on, and gather it."""
    found: Outcomes = {}
    with subprocess.Popen(
        command(kind),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=HERE.parent,
    ) as process:
        assert process.stdout is not None
        limit = threading.Timer(LONGEST_IN_GUEST + 300 if kind in IN_GUEST else LONGEST, process.terminate)
        limit.start()  # terminated, it ends the tests and takes the mount down
        for line in process.stdout:
            print(f"{kind}: {line}", end="", flush=True)
            for test, name, outcome in OUTCOME.findall(line):
                if name == kind:
                    found[kind, test] = outcome
            for name, verdict in VERDICT.findall(line):
                found[name, "verdict"] = verdict
        limit.cancel()
    if process.returncode not in (0, 1) or (process.returncode and "FAILED" not in found.values()):
        found[kind, f"status {process.returncode}: did not come up, or to its end, or down"] = "ERROR"
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


def surprises(found: Outcomes) -> list[str]:
    """In words, what failed and was not known to, and what is known to fail and passed."""
    failed = {case for case, outcome in found.items() if outcome in ("FAILED", "ERROR")}
    passed = {case for case, outcome in found.items() if outcome == "PASSED"}
    new = [f"{kind}: {test} failed" for kind, test in sorted(failed - KNOWN.keys())]
    return new + [
        f"{kind}: {test} passed: no exception any more" for kind, test in sorted(passed & KNOWN.keys())
    ]


def write(table: str) -> None:
    """Put the table into the report, in place of the last one."""
    text = REPORT.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    when = datetime.now(UTC).strftime("%-d %B %Y")
    REPORT.write_text(
        f"{before}{BEGIN}Run on {when}, Linux {os.uname().release}; in the guest: 6.1.\n\n{table}{after}"
    )


def main(names: Sequence[str]) -> int:
    """Run all or some kinds; 1 if a promise did not hold that is not known for it."""
    here = [kind.name for kind in KINDS.values() if not kind.guest and kernel_knows(kind.fstype)]
    lanes = [[kind for kind in lane if not names or kind in names] for lane in (here, IN_GUEST)]
    install(KINDS[kind] for lane in lanes for kind in lane)
    with ThreadPoolExecutor(len(lanes)) as pool:  # the guest beside the others: it mostly waits for leases
        runs = pool.map(lambda lane: [run(kind) for kind in lane], lanes)
        found = {case: outcome for lane in runs for outcomes in lane for case, outcome in outcomes.items()}
    print(matrix(found)) if names else write(matrix(found))
    news = surprises(found)
    if news:
        print(*news, sep="\n")
    return int(bool(news))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
