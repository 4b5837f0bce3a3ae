"""What real mounts do and how fast: `maildir-safe probe` and `bench --quick` on each; `make compare`.

    python -m benchmarks.compare                 all that this machine can bring up (root, half an hour)
    python -m benchmarks.compare ext4 sshfs      only these

Writes benchmarks/results/compare.json and compare.html, and the table in benchmarks/README.md. What this
kernel lacks runs in the emulated guest, whose processor is some 20 times slower: its figures compare with
each other alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import compare_report
from benchmarks.mounts import KINDS, Mount, MountError, kernel_knows, missing, mounted, running
from maildir_safe.bench.runner import environment

Result = dict[str, Any]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- compare: written by `make compare` -->\n", "<!-- end of compare -->\n"
IN_GUEST = ("nfs3", "nfs42", "cifs", "afs", "9p", "vfat")
LONGEST = 420.0  # seconds for each of the two commands on a mount
GUEST_LONGEST = 2400.0


def measure(mount: Mount, guest: bool) -> Result:
    """Probe and bench of one mount, by the commands that everybody has."""
    second = ["--second", str(mount.paths[1])] if len(mount.paths) > 1 else []
    probe = _command("probe", "--json", *second, str(mount.paths[0]))
    bench = _command("bench", "--quick", "--json", "-", str(mount.paths[0]))
    return {
        "kind": mount.kind.name,
        "about": mount.kind.about,
        "guest": guest,
        "error": "",
        "probe": probe if "verdict" in probe else None,
        "bench": bench["mounts"][0] if "mounts" in bench else None,
        "failed": [said["error"] for said in (probe, bench) if "error" in said],
    }


def _command(*words: str) -> Result:
    """What one of our commands printed as JSON, or ``{"error": why}``."""
    command = [sys.executable, "-m", "maildir_safe", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        found: Result = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"{words[0]}: not done after {LONGEST:.0f} s"}
    except ValueError:
        return {"error": f"{words[0]}: {done.stderr.strip()[-300:]}"}
    return found


def here(names: list[str]) -> Iterator[Result]:
    """Results of kinds that this machine has, one after the other, each mount alone on it."""
    for name in names:
        kind = KINDS[name]
        lacks = missing(kind) or ("" if kernel_knows(kind.fstype) else f"this kernel has no {kind.fstype}")
        if lacks:
            yield _absent(name, lacks)
            continue
        try:
            with mounted(name) as mount:
                result = measure(mount, guest=False)
        except MountError as error:
            result = _absent(name, str(error))
        yield result


def in_guest(names: list[str]) -> Iterator[Result]:
    """Results of kinds that the emulated machine has; it boots once."""
    command = [sys.executable, "-m", "benchmarks.mounts", "guest", "--timeout", str(GUEST_LONGEST)]
    command += ["--fs", ",".join(names), "--", "python3", "-m", "benchmarks.compare", "--inside"]
    seen = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
        assert guest.stdout is not None
        for line in guest.stdout:
            if line.startswith('{"kind":'):
                result: Result = json.loads(line)
                seen.add(result["kind"])
                yield result
    for name in names:
        if name not in seen:
            yield _absent(name, "the guest did not come to it")


def inside() -> None:
    """In the guest: measure what is mounted, and print a line of JSON for each."""
    for mount in running(Path(os.environ["MOUNTS_BASE"])).values():
        print(json.dumps(measure(mount, guest=True)), flush=True)


def _absent(name: str, why: str) -> Result:
    return {
        "kind": name,
        "about": KINDS[name].about,
        "guest": False,
        "error": why,
        "probe": None,
        "bench": None,
    }


def all_of(names: list[str]) -> Iterator[Result]:
    """Results in the order of `KINDS`; those of the guest last."""
    yield from here([name for name in names if not _for_guest(name)])
    emulated = [name for name in names if _for_guest(name)]
    if emulated:
        yield from in_guest(emulated)


def _for_guest(name: str) -> bool:
    return KINDS[name].guest or (name in IN_GUEST and not kernel_knows(KINDS[name].fstype))


def write(results: Result) -> None:
    """The three files."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "compare.html").write_text(compare_report.page(results))
    text = README.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    README.write_text(before + BEGIN + compare_report.table(results) + after)


def main() -> int:
    """Measure and write; 1 if a mount lost or doubled a message."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="of python -m benchmarks.mounts list")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside()
        return 0
    names = args.kinds or [name for name, kind in KINDS.items() if not kind.guest or name in IN_GUEST]
    results: Result = {"environment": environment(), "mounts": []}
    for result in all_of(names):
        results["mounts"].append(result)
        print(compare_report.line(result), flush=True)
        write(results)  # each time: half an hour is long, and somebody may end it
    return int(any(sum(compare_report.amiss(result)) for result in results["mounts"]))


if __name__ == "__main__":
    sys.exit(main())
