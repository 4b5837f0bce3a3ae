"""What real mounts do and how fast: `maildir-safe probe` and `bench --quick` on each; `make compare`.

    python -m benchmarks.compare                   all that this machine can bring up (root, an hour)
    python -m benchmarks.compare ext4 sshfs        only these: prints the table, leaves results/ alone
    python -m benchmarks.compare --full --out DIR ext4 sshfs gluster-arbiter nfs42
                                                   a whole `bench` of each; two reports in DIR

Writes benchmarks/results/ (compare.json, compare.html) and the table in benchmarks/README.md, after each
mount anew. What this kernel lacks runs first, in the emulated guest, whose processor is some 20 times slower:
its figures compare with each other alone, and the usual local file systems run there once more. What this
machine has gets half an hour; what is left then is named and not run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import compare_report
from benchmarks.mounts import IN_GUEST, KINDS, Mount, MountError, kernel_knows, missing, mounted, running
from maildir_safe._bench.report import report
from maildir_safe._bench.runner import environment

Result = dict[str, Any]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- compare: written by `make compare` -->\n", "<!-- end of compare -->\n"
_RARE_DISKS = {"reiserfs", "jfs", "f2fs"}
_USUAL_DISKS = ("ext4", "ext4-journal", "ext3", "ext2", "xfs", "btrfs")
ALL = 1800.0  # seconds for what this machine has
LONGEST = 150.0  # for each of the two commands on a mount
LONGEST_IN_GUEST = 300.0
GUEST_LONGEST = 3600.0
FULL = 1200.0  # for a bench that is not quick


def measure(mount: Mount, guest: bool, full: bool = False) -> Result:
    """Probe and bench of one mount, by the commands that everybody has."""
    second = ["--second", str(mount.paths[1])] if len(mount.paths) > 1 else []
    longest = LONGEST_IN_GUEST if guest else LONGEST
    probe = _command(longest, "probe", "--json", *second, str(mount.paths[0]))
    quick = [] if full else ["--quick"]
    bench = _command(FULL if full else longest, "bench", *quick, "--json", "-", str(mount.paths[0]))
    for one in bench.get("mounts", []):
        one["name"] = mount.kind.name + (" (emulated)" if guest else "")
    return {
        "kind": mount.kind.name,
        "about": mount.kind.about,
        "guest": guest,
        "error": "",
        "probe": probe if "verdict" in probe else None,
        "bench": bench["mounts"][0] if "mounts" in bench else None,
        "failed": [said["error"] for said in (probe, bench) if "error" in said],
    }


def _command(longest: float, *words: str) -> Result:
    """What one of our commands printed as JSON, or ``{"error": why}``."""
    command = [sys.executable, "-m", "maildir_safe", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest, check=False)
        found: Result = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"{words[0]}: not done after {longest:.0f} s"}
    except ValueError:
        return {"error": f"{words[0]}: {done.stderr.strip()[-300:]}"}
    return found


def here(names: list[str], until: float, full: bool) -> Iterator[Result]:
    """Results of kinds that this machine has, one after the other, each mount alone on it.

    Args:
        until: on the MONOTONIC clock; what has not begun by then is not run.
    """
    for name in names:
        if time.monotonic() > until:
            yield _absent(name, f"not reached: the {ALL / 60:.0f} minutes were up")
            continue
        kind = KINDS[name]
        lacks = missing(kind) or ("" if kernel_knows(kind.fstype) else f"this kernel has no {kind.fstype}")
        if lacks:
            yield _absent(name, lacks)
            continue
        try:
            with mounted(name) as mount:
                result = measure(mount, False, full)
        except MountError as error:
            result = _absent(name, str(error))
        yield result


def in_guest(names: list[str], full: bool) -> Iterator[Result]:
    """Results of kinds that the emulated machine has; it boots once."""
    longest = FULL * len(names) if full else GUEST_LONGEST
    command = [sys.executable, "-m", "benchmarks.mounts", "guest", "--timeout", str(longest)]
    command += ["--fs", ",".join(names), "--", "python3", "-m", "benchmarks.compare", "--inside"]
    command += ["--full"] if full else []
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


def inside(full: bool) -> None:
    """In the guest: measure what is mounted, and print a line of JSON for each."""
    for mount in running(Path(os.environ["MOUNTS_BASE"])).values():
        print(json.dumps(measure(mount, True, full)), flush=True)


def _absent(name: str, why: str) -> Result:
    return {
        "kind": name,
        "about": KINDS[name].about,
        "guest": False,
        "error": why,
        "probe": None,
        "bench": None,
        "failed": [],
    }


def all_of(names: list[str], full: bool) -> Iterator[Result]:
    """Results in the order of `names`; those of the guest first, since its time is bounded."""
    emulated = [name for name in names if _for_guest(name)]
    if _RARE_DISKS.intersection(emulated):  # to be compared with the usual ones on the same slow processor
        emulated += _USUAL_DISKS
    if emulated:
        yield from in_guest(emulated, full)
    until = time.monotonic() + (FULL * len(names) if full else ALL)
    yield from here([name for name in names if not _for_guest(name)], until, full)


def _for_guest(name: str) -> bool:
    return KINDS[name].guest or (name in IN_GUEST and not kernel_knows(KINDS[name].fstype))


def write(results: Result, out: Path, full: bool) -> None:
    """The files in `out`; after a full bench also its own report."""
    out.mkdir(exist_ok=True, parents=True)
    (out / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "compare.html").write_text(compare_report.page(results))
    benches = [result["bench"] for result in results["mounts"] if result["bench"]]
    if full and benches:
        measured = {"environment": results["environment"], "mounts": benches}
        (out / "bench.json").write_text(json.dumps(measured, indent=1) + "\n")
        (out / "bench.html").write_text(report(measured))


def write_table(results: Result) -> None:
    """Into benchmarks/README.md, between its marks."""
    text = README.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    README.write_text(before + BEGIN + compare_report.table(results) + after)


def main() -> int:
    """Measure and write; 1 if a mount lost or doubled a message."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="of python -m benchmarks.mounts list")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the reports there")
    parser.add_argument("--full", action="store_true", help="not only a quick bench: 10 minutes a mount")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.full)
        return 0
    names = args.kinds or [name for name, kind in KINDS.items() if not kind.guest or name in IN_GUEST]
    results: Result = {"environment": environment(), "mounts": []}
    everything = not args.kinds and args.out is None and not args.full
    out = RESULTS if everything else args.out
    for result in all_of(names, args.full):
        results["mounts"].append(result)
        results["mounts"].sort(key=lambda one: ([*KINDS].index(one["kind"]), one["guest"]))
        print(compare_report.line(result), flush=True)
        if out:
            write(results, out, args.full)  # each time: half an hour is long, and somebody may end it
        if everything:
            write_table(results)
    if not everything:
        print(compare_report.table(results), end="")
    return int(any(sum(compare_report.amiss(result)) for result in results["mounts"]))


if __name__ == "__main__":
    sys.exit(main())
