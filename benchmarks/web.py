"""The inbox page over a large Maildir: how long until it is there?

.venv/bin/python -m benchmarks.web [--messages 100000] [DIRECTORY]

The first page and its neighbours, over HTTP from this machine, from a server process of its own:
cold (the first request after the start), warm (nothing has changed since), and after a delivery
(the Maildir has to be listed anew).
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

from maildir_safe import Maildir

_ROUNDS = 20


def fill(path: Path, messages: int) -> Maildir:
    """A Maildir of so many small messages; a tenth of them unread. Not durable: nothing is measured here."""
    maildir = Maildir(path)
    for number in range(messages):
        heads = f"From: Ada <ada{number % 97}@example.com>\nTo: you@example.org\nSubject: number {number}\n"
        text = f"{heads}\nText.\n"
        name = f"{1_700_000_000 + number * 60}.M{number % 1_000_000}P1Q{number}.host,S={len(text)}"
        place = f"new/{name}" if number % 10 == 0 else f"cur/{name}:2,S"
        (path / place).write_text(text)
    return maildir


@contextlib.contextmanager
def serving(path: Path) -> Iterator[HTTPConnection]:
    """A connection to the page of a server process."""
    command = [sys.executable, "-m", "maildir_safe", "serve", str(path), "--smtp", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--web", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        banner = [process.stdout.readline() for _ in range(2)]
        found = re.search(r"http://([^/]+)/", "".join(banner))
        assert found, banner
        connection = HTTPConnection(found[1])
        try:
            yield connection
        finally:
            connection.close()
            process.terminate()


def timed(connection: HTTPConnection, path: str, rounds: int, between: Callable[[], object]) -> list[float]:
    """Seconds of each request, the whole answer read."""
    took = []
    for _ in range(rounds):
        between()
        start = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
        took.append(time.perf_counter() - start)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", help="where the Maildir is made (default: a temporary one)")
    parser.add_argument("--messages", type=int, default=100_000, metavar="N")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="web.", dir=args.directory) as place:
        maildir = fill(Path(place, "Maildir"), args.messages)
        last = args.messages // 50 * 50 - 50
        print(f"{args.messages} messages, {_ROUNDS} requests each; median (slowest), milliseconds")
        with serving(Path(maildir.path)) as connection:
            report("first page, cold", timed(connection, "/", 1, lambda: None))
            timed(connection, "/", 1, lambda: time.sleep(4))  # until the directories' times have settled
            report("first page, warm", timed(connection, "/", _ROUNDS, lambda: None))
            report("last page, warm", timed(connection, f"/?offset={last}", _ROUNDS, lambda: None))
            message = next(maildir.messages()).key
            report("a message, warm", timed(connection, f"/message/{message}", _ROUNDS, lambda: None))
            deliver = lambda: maildir.deliver(b"Subject: one more\n\n")  # noqa: E731
            report("first page after a delivery", timed(connection, "/", _ROUNDS, deliver))
            report("search, nothing found", timed(connection, "/?search=nowhere", 1, lambda: None))


def report(what: str, took: list[float]) -> None:
    """One line."""
    print(f"{what:28} {statistics.median(took) * 1000:8.1f}  ({max(took) * 1000:.1f})", flush=True)


if __name__ == "__main__":
    main()
