"""How fast is a queue relayed by SMTP? ``python -m benchmarks.relay``.

    python -m benchmarks.relay [--messages N] [--rounds N] [--mount KIND] [--json FILE]

Fills a queue, and takes the time until `smtp-sink`, which comes with Postfix and keeps nothing, has all of
it and the queue is empty: ours by `maildir-safe work --once`, its start included, and Postfix's by its
qmgr(8) and smtp(8). Both have 32 connections and the same ext4 image (root), and take turns. Ours makes each
removal from the queue durable, Postfix makes none. The sink counts, and has to have each message once. Exit
status 1 if the figure is not reached.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.against import against
from benchmarks.children import ENVIRONMENT
from benchmarks.deliver_rounds import message
from benchmarks.mounts import KINDS, mounted
from benchmarks.peers import postfix
from benchmarks.smtp_client import send, wire_form
from benchmarks.smtp_servers import free_port, wait_until_it_answers
from maildir_safe import Queue

TARGET = 1.0
CONNECTIONS = 32
_PATIENCE = 300.0  # seconds
_SENDER, _RECIPIENT = "bench@example.org", "box@example.org"
_COUNTED = re.compile(r"mesg=(\d+)")


@contextlib.contextmanager
def sink() -> Iterator[tuple[int, Callable[[], int]]]:
    """A server that takes mail and keeps none: its port, and what ends it and tells how many it has taken."""
    port = free_port()
    command = ["/usr/sbin/smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{port}", "256"]
    with tempfile.TemporaryFile("w+") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:

        def taken() -> int:
            process.terminate()
            process.wait()
            out.seek(0)
            return max(map(int, _COUNTED.findall(out.read())), default=0)

        try:
            wait_until_it_answers(f"127.0.0.1:{port}", process)
            yield port, taken
        finally:
            process.terminate()


def ours(place: Path, count: int, port: int) -> float:
    """Seconds of our worker, from its start to its end."""
    spool = place / "spool"
    with Queue(spool) as queue:
        for start in range(0, count, 100):
            part = range(start, min(start + 100, count))
            queue.put_many([(message(number), _SENDER, [_RECIPIENT]) for number in part])
    work = [sys.executable, "-m", "maildir_safe", "work", str(spool), "--to", f"smtp://127.0.0.1:{port}"]
    begun = time.perf_counter()
    subprocess.run([*work, "--once", "--concurrency", str(CONNECTIONS)], env=ENVIRONMENT, check=True)
    took = time.perf_counter() - begun
    with Queue(spool) as queue:
        if left := sum(1 for _ in queue.items()):
            raise RuntimeError(f"{left} of {count} messages are left in the queue")
    return took


def theirs(place: Path, count: int, port: int) -> float:
    """Seconds of Postfix, from its waking to its empty queue."""
    box = place / "box"
    box.mkdir()
    with postfix.relaying(box, port, CONNECTIONS) as smtpd:
        load = send(f"127.0.0.1:{smtpd}", False, [wire_form(message(number)) for number in range(count)], 8)
        if load.refused:
            raise RuntimeError(f"refused: {load.refused[0]}")
        postfix.command(box, "postsuper", "-H", "ALL")  # into deferred/, which is scanned when it is flushed
        begun = time.perf_counter()
        postfix.command(box, "postqueue", "-f")
        while left := postfix.waiting(box):
            if time.perf_counter() - begun > _PATIENCE:
                raise TimeoutError(f"{left} of {count} messages are left in Postfix's queue")
            time.sleep(0.02)
        return time.perf_counter() - begun


def rate(kind: Callable[[Path, int, int], float], base: Path, count: int) -> float:
    """Messages a second.

    Raises:
        RuntimeError: the sink has not taken each message once.
    """
    with tempfile.TemporaryDirectory(dir=base) as directory, sink() as (port, taken):
        seconds = kind(Path(directory), count, port)
        if (found := taken()) != count:
            raise RuntimeError(f"the sink has taken {found} messages, and not {count}")
        return count / seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _arguments(arguments)
    what = f"work relaying over {CONNECTIONS} connections / Postfix's smtp"
    with mounted(options.mount, size=1024) as mount:
        contenders = {
            name: partial(rate, kind, mount.folder(), options.messages)
            for name, kind in {"ours": ours, "Postfix": theirs}.items()
        }
        return against(what, TARGET, contenders, options)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__.split("\n")[0])
    parser.add_argument("--mount", default="ext4", choices=KINDS, metavar="KIND")
    parser.add_argument("--messages", type=int, default=2000, help="in a round (default: 2,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each runs (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
