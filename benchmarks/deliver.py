"""How fast is a delivery, beside others and beside what the machine allows? ``python -m benchmarks.deliver``.

Makes its own ext4, xfs and tmpfs (root), runs every contender on each, and says which figures of
this project are reached. Exit status 1 if one is not, or if a contender of ours lost a message.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.deliver_contenders import SINGLE, contenders
from benchmarks.deliver_figures import Figure, memory, speed_figures, startup, system_calls
from benchmarks.deliver_report import as_json, environment, text
from benchmarks.deliver_rounds import Progress, Series, run
from benchmarks.kept import keep
from benchmarks.mounts import KINDS, MountError, mounted
from benchmarks.peers import PEERS

_IMAGE = 3072  # MiB: a message of 1 GiB, its source, and room


def main() -> int:
    """The command."""
    options = _arguments()
    if options.peers:
        for peer in PEERS:
            print(f"{peer.contender.name:40}{'installed' if peer.installed else 'missing: ' + peer.package}")
        return 0
    mounts, rounds, seconds = options.mounts, options.rounds, options.seconds
    if options.quick:
        rounds, seconds = 3, 0.1
    everyone = [*contenders(), *(peer.contender for peer in PEERS if peer.installed)]
    progress = Progress(len(mounts) * len(everyone) * (rounds + 1))
    results: dict[str, dict[str, Series]] = {}
    figures: list[Figure] = []
    about = {**environment(), "rounds": rounds, "seconds": seconds}
    for name in mounts:
        progress.where = name
        try:
            with mounted(name, size=_IMAGE) as mount:
                results[name] = run(everyone, mount.folder(), rounds, seconds, progress)
                if name == mounts[0]:
                    figures = [system_calls(mount.folder()), memory(mount.folder())]
        except MountError as error:  # it may not come up, or not go away: what was measured is kept
            print(f"{name}: {error}", file=sys.stderr)
    progress.clear()
    figures = [*speed_figures(results), *figures, startup()]
    print(text(results, figures, about))
    if options.json:
        keep(options.json, as_json(results, figures, about))
    failed = any(figure.verdict == "FAIL" for figure in figures)
    return 1 if failed or any(_lost(rows) for rows in results.values()) else 0


def _lost(rows: dict[str, Series]) -> bool:
    """Whether one of ours did not deliver what it was given."""
    return any(series.problems for name, series in rows.items() if name.startswith(SINGLE))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliver", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--mounts", nargs="+", default=["ext4", "xfs", "tmpfs"], choices=KINDS, metavar="KIND"
    )
    parser.add_argument("--rounds", type=int, default=11, help="how often each runs (default: 11)")
    parser.add_argument("--seconds", type=float, default=0.2, help="about how long, each time (default: 0.2)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.1 s: a look, not a measurement")
    parser.add_argument("--peers", action="store_true", help="only list the peers, and what is missing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all that was measured")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
