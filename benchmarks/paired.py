"""Is this working tree slower than another version? ``make bench-compare``.

    python -m benchmarks.paired [REVISION] [--directory DIRECTORY] [--rounds N] [--json FILE]

Each version runs in a process of its own; they take turns, slice by slice, and are compared by the
median over rounds of their ratio, since the speed of a machine drifts. Everything happens on tmpfs, where
no disk hides what our own code costs, or in DIRECTORY. Exit status 1 if a figure is more than 10 % slower.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.children import ENVIRONMENT
from benchmarks.deliver_report import environment, table
from benchmarks.kept import keep

HERE = Path(__file__).resolve().parents[1]
SLOWER = 1.10
"""A figure fails if it takes more than this many times as long as before."""

Times = Sequence[Mapping[str, float]]
"""Seconds a message of each step, one mapping for each round."""


def ratios(now: Times, then: Times) -> dict[str, float]:
    """How many times as long each step takes now: the median over rounds."""
    return {
        step: statistics.median(a[step] / b[step] for a, b in zip(now, then, strict=True)) for step in now[0]
    }


def too_slow(found: Mapping[str, float]) -> list[str]:
    """The steps that have become slower than is allowed."""
    return [step for step, ratio in found.items() if ratio > SLOWER]


def take_turns(trees: Sequence[Path], folder: Path, rounds: int) -> list[list[dict[str, float]]]:
    """Run the steps with the package in each tree, in turns; the first round of each is not counted."""
    with ExitStack() as stack:
        children = [stack.enter_context(_child(tree, folder)) for tree in trees]
        times: list[list[dict[str, float]]] = [[] for _ in trees]
        for number in range(rounds + 1):
            order = list(range(len(trees)))
            for which in order if number % 2 else reversed(order):
                found = _slice(children[which])
                if number:
                    times[which].append(found)
    return times


@contextmanager
def _child(tree: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that imports `maildir_safe` from a tree, and runs a slice for each line that it reads."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        steps = Path(__file__).with_name("paired_steps.py").read_text()
        command = [sys.executable, "-c", steps, place]  # as a file, its directory would be on the path
        variables = {**ENVIRONMENT, "PYTHONPATH": str(tree)}
        process = subprocess.Popen(
            command, cwd=tree, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            yield process
            assert process.stdin is not None
            process.stdin.close()


def _slice(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    found: dict[str, float] = json.loads(process.stdout.readline())
    return found


def _extract(revision: str, folder: Path) -> Path:
    """The package as a revision has it, in a new directory."""
    archive = subprocess.run(
        ["git", "-C", str(HERE), "archive", revision, "maildir_safe"], check=True, stdout=subprocess.PIPE
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _arguments(arguments)
    with tempfile.TemporaryDirectory() as place:
        trees = [HERE, _extract(options.revision, Path(place))]
        now, then = take_turns(trees, options.directory, options.rounds)
    found = ratios(now, then)
    slow = too_slow(found)
    about = {**environment(), "revision": options.revision, "rounds": options.rounds}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows = [
        (step, _micros(then, step), _micros(now, step), f"{ratio:.2f}", "SLOWER" if step in slow else "")
        for step, ratio in found.items()
    ]
    print(f"\n{table(('µs a message', 'then', 'now', 'now / then', ''), rows, '<>>><')}")
    if options.json:
        keep(options.json, {"environment": about, "ratios": found, "now": now, "then": then})
    return 1 if slow else 0


def _micros(times: Times, step: str) -> str:
    return f"{statistics.median(one[step] for one in times) * 1e6:.1f}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=__doc__.split("\n")[0])
    parser.add_argument("revision", nargs="?", default="HEAD", help="what to compare with (default: HEAD)")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="where (default: tmpfs)")
    parser.add_argument("--rounds", type=int, default=100, help="how often each runs (default: 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
