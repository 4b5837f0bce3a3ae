"""Failover of two mail hosts on GlusterFS behind HAProxy, under load, one failure after the other.

python -m benchmarks.failover                  all failures; root, Debian with haproxy and GlusterFS
python -m benchmarks.failover --write          and their rows go into docs/howto/two-hosts.md; others stay
python -m benchmarks.failover --only NAME      one of them, such as 'network'
python -m benchmarks.failover --lease 3        of the workers, in seconds
python -m benchmarks.failover --scale 0.3      each failure lasts 0.3 times as long
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failover_cluster import Cluster, cluster
from benchmarks.failover_count import Count, Observer, count
from benchmarks.failover_evidence import evidence
from benchmarks.mounts.stage import MountError, wait_until

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "two-hosts.md"
THREADS = 8
_STEADY = 4.0  # seconds of load before each failure and after it
_DRAIN = 240.0
_BEGIN, _END = "<!-- failover: begin -->", "<!-- failover: end -->"


@dataclass(frozen=True)
class Failure:
    """Something that goes wrong under load.

    Attributes:
        name: as `--only` knows it.
        about: the row's first column.
        happens: does it, and mends it; takes the cluster and the seconds that it lasts.
        seconds: how long it lasts, at scale 1.
    """

    name: str
    about: str
    happens: Callable[[Cluster, float], None]
    seconds: float = 20.0


def _nothing(_cluster: Cluster, seconds: float) -> None:
    time.sleep(seconds)


def _kill(cluster: Cluster, seconds: float) -> None:
    cluster.crash("c1")
    time.sleep(seconds)
    cluster.restart("c1")


def _network(cluster: Cluster, seconds: float) -> None:
    with cluster.unplugged("c1"):
        time.sleep(seconds)
    wait_until(lambda: cluster.ready("c1"), "c1 to be ready again", 120.0)


def _stopped(cluster: Cluster, seconds: float) -> None:
    cluster.signal("c1", signal.SIGSTOP)
    time.sleep(seconds)
    cluster.signal("c1", signal.SIGCONT)
    time.sleep(seconds / 4)  # it finds that its lease is lost, while the load goes on


def _file_server(cluster: Cluster, seconds: float) -> None:
    cluster.crash("s1")
    time.sleep(seconds)
    cluster.restart("s1")


def _file_server_network(cluster: Cluster, seconds: float) -> None:
    with cluster.unplugged("s1"):
        time.sleep(seconds)


def _balancer(cluster: Cluster, _seconds: float) -> None:
    cluster.stop_balancer()
    cluster.start_balancer()


def _upgrade(cluster: Cluster, _seconds: float) -> None:
    for host in ("c1", "c2"):
        cluster.stop_mail_host(host)
        cluster.start_mail_host(host)
        time.sleep(3.0)  # the load balancer sees it twice before it sends clients


FAILURES = (
    Failure("nothing", "nothing fails", _nothing),
    Failure("kill", "a mail host: every process killed (kill -9), its mount too", _kill),
    Failure("network", "a mail host: its network cut", _network),
    Failure("stopped", "a mail host: `serve` and `work` stopped (SIGSTOP), then continued", _stopped, 30.0),
    Failure("balancer", "HAProxy killed and started again", _balancer),
    Failure("upgrade", "both mail hosts stopped (SIGTERM) and started, one after the other", _upgrade),
    Failure("file-server", "a file server: every process killed", _file_server),
    Failure("file-server-network", "a file server: its network cut", _file_server_network),
)


def run(failure: Failure, up: Cluster, scale: float) -> Count:
    """Let a failure happen under load, wait until the queue is empty, and count.

    Raises:
        MountError: the queue is not empty after minutes, or the client gets no 250.
    """
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        with Observer(up.bricks) as observer:
            with up.client(ledger, failure.name, THREADS):
                time.sleep(_STEADY)
                failure.happens(up, failure.seconds * scale)
                time.sleep(_STEADY)
            wait_until(lambda: _drained(up), "the end of the queue", _DRAIN)
        found = count(ledger, up.mail["c2"], up.bricks[1], observer.seen)
        found.evidence = evidence(found.unexplained, ledger, up.bricks, up.logs())
        return found


def _drained(up: Cluster) -> bool:
    """Whether the queue is empty, as the file server has it that no failure touches."""
    spool = up.bricks[1] / "spool"
    try:
        return not any(spool.glob("pending/*/*")) and not any(spool.glob("claimed/*/*"))
    except FileNotFoundError:  # a worker's directory was removed while it was listed
        return False


def row(failure: Failure, found: Count) -> str:
    """The row of the table."""
    doubled = ", ".join(f"{number} ({why})" for why, number in sorted(found.doubled.items())) or "0"
    cells = [failure.about, f"{found.messages:,}", str(len(found.lost)), doubled]
    return f"| {' | '.join(cells)} | {found.silence:.1f} s | {found.slowest:.1f} s |"


HEAD = """\
| under load | messages | lost | doubled | longest without a 250 | longest from a 250 to the Maildir |
|---|---|---|---|---|---|"""


def rows_of(text: str) -> dict[str, str]:
    """The rows in a text, by the names of their failures."""
    names = {failure.about: failure.name for failure in FAILURES}
    found = {}
    for line in text.splitlines():
        about = line.removeprefix("| ").partition(" | ")[0]
        if line.startswith("| ") and about in names:
            found[names[about]] = line
    return found


def written(page: str, new: dict[str, str]) -> str:
    """A page with new rows, by the names of their failures, between its two marks; other rows stay."""
    before, _, rest = page.partition(_BEGIN)
    table, _, after = rest.partition(_END)
    rows = rows_of(table) | new
    lines = [rows[failure.name] for failure in FAILURES if failure.name in rows]
    return "\n".join([before + _BEGIN, HEAD, *lines, _END + after])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", action="append", choices=[failure.name for failure in FAILURES])
    parser.add_argument("--lease", type=int)
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    wanted = [failure for failure in FAILURES if args.only is None or failure.name in args.only]
    rows: dict[str, str] = {}
    complaints: list[str] = []
    try:
        with cluster(args.lease) as up:
            print(HEAD, flush=True)
            for failure in wanted:
                found = run(failure, up, args.scale)
                rows[failure.name] = row(failure, found)
                complaints += found.complaints()
                print(rows[failure.name], flush=True)
                print(f"  {dict(found.trouble)}", file=sys.stderr, flush=True)
    except MountError as error:
        print(f"benchmarks.failover: {error}", file=sys.stderr)
        return 1
    if args.write and not complaints:
        PAGE.write_text(written(PAGE.read_text(), rows))
    print("\n".join(complaints), file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
