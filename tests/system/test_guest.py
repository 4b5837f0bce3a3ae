"""File systems that this kernel lacks, in one emulated Debian machine: NFS, SMB, AFS, vfat.

The tests run in there (`TESTS`, each on the mounts that it names); here each of their results is looked up,
so that none is missing. By hand:

    python -m benchmarks.mounts guest --fs nfs42 -- python3 -m pytest tests/system/guest_replies.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from benchmarks.mounts import in_guest

MOUNTS = ("nfs42", "afs", "cifs", "vfat")
PROGRAMS = tuple(f"Python-mailbox-{mount}" for mount in ("afs", "cifs", "vfat"))
TESTS = {
    "guest_queue.py": {"test_two_hosts_share_a_spool_while_its_server_restarts": ("nfs41",)},
    "test_mounts_mail.py": {"test_two_hundred_messages": MOUNTS},
    "test_probe.py": {"test_the_probe_agrees_with_what_was_measured": MOUNTS},
    "test_shim_mounts.py": {"test_program": PROGRAMS},
    "guest_cost.py": {
        "test_calls_of_a_durable_delivery": ("nfs3", "nfs42", "cifs"),
        "test_calls_of_the_standard_library": ("nfs3", "nfs42", "cifs"),
        "test_calls_of_a_queue": ("nfs3", "nfs42", "cifs"),
    },
    "guest_replies.py": {
        "test_a_delivery_whose_reply_is_lost_is_one_copy": ("nfs3", "nfs42"),
        "test_flags_set_with_a_lost_reply_are_set": ("nfs3",),
        "test_a_claim_with_a_lost_reply_is_ours": ("nfs42",),
        "test_a_soft_mount_whose_server_is_away": ("executed-nfs3", "lost-nfs3"),
    },
}  # fmt: skip
BESIDE = (
    "test_mounts_mail.py", "test_probe.py", "guest_cost.py",
    *(f"test_shim_mounts.py::test_program[{program}]" for program in PROGRAMS),
)  # fmt: skip
CASES = [
    f"{file}::{test}[{mount}]" for file, tests in TESTS.items() for test in tests for mount in tests[test]
]
# those that take servers away beside the others, on mounts of their own: they mostly wait
SIDE_BY_SIDE = """
run() { python3 -m pytest -v --color=no --timeout 900 --durations=8 -p no:cacheprovider "$@"; }
(unset MOUNTS_BASE; run tests/system/guest_queue.py tests/system/guest_replies.py) >/tmp/first 2>&1 &
run "$@"; wait; cat /tmp/first
"""
RESULT = re.compile(r"^tests/system/(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)", re.MULTILINE)
FIGURE = re.compile(r"^(?:nfs\d+|cifs|afs|vfat|probe \w+)\b.*: .*", re.MULTILINE)

pytestmark = [
    pytest.mark.mounts,
    pytest.mark.timeout(1560),
    pytest.mark.skipif(in_guest(), reason="this is the guest"),
]


class Run:
    """What the guest printed, and the result of each of its tests."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.results = dict(RESULT.findall(output))
        self.figures = FIGURE.findall(output.partition(" figures ")[2])

    def about(self, case: str) -> str:
        """What it printed of a test that failed, or its end."""
        test = re.escape(case.partition("::")[2])
        section = re.search(
            rf"^_+ (?:ERROR at \w+ of )?{test} _+$.*?(?=^_+ (?:test_|ERROR )|^=+ )",
            self.output,
            re.MULTILINE | re.DOTALL,
        )
        return section[0] if section else self.output[-3000:]


@pytest.fixture(scope="module")
def guest() -> Run:
    """One boot of the machine, with all tests in it."""
    if shutil.which("qemu-system-x86_64", path=os.environ["PATH"] + ":/usr/sbin") is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("the guest needs qemu-system-x86")
    command = [
        sys.executable,
        "-m",
        "benchmarks.mounts",
        "guest",
        "--timeout",
        "1500",
        "--fs",
        ",".join(MOUNTS),
    ]
    command += ["--", "sh", "-c", SIDE_BY_SIDE, "sh", *(f"tests/system/{file}" for file in BESIDE)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    return Run(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_in_the_guest(guest: Run, case: str) -> None:
    assert guest.results.get(case, "not run") == "PASSED", guest.about(case)


def test_all_that_ran_is_looked_up(guest: Run, record_property: Callable[[str, object], None]) -> None:
    for figure in guest.figures:
        record_property("note", f"guest: {figure}")
    assert sorted(guest.results) == sorted(CASES)
