"""The inbox page over a large Maildir: how long until it is there?

.venv/bin/python -m benchmarks.web [--messages 100000] [DIRECTORY]

The first page and its neighbours, over HTTP from this machine, from a server process of its own:
cold (the first request after the start), warm (nothing has changed since), and after one delivery
(the Maildir has to be listed anew). The server's CPU time a request stands beside the time on the
clock, which on a busy machine says more about the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Client:
    """Asks a server, and prints how long it took."""

    connection: HTTPConnection
    pid: int

    def ask(self, path: str, rounds: int = 1, between: Callable[[], object] = lambda: None) -> list[float]:
        """Seconds of each request, the whole answer read. A `{}` in the path is the request's number."""
        took = []
        self.connection.close()  # the server closes one that was idle for 5 s; the next request opens it anew
        for number in range(rounds):
            between()
            start = time.perf_counter()
            self.connection.request("GET", path.format(number))
            answer = self.connection.getresponse()
            content = answer.read()
            took.append(time.perf_counter() - start)
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return took

    def report(
        self, what: str, path: str, rounds: int = _ROUNDS, between: Callable[[], object] = lambda: None
    ) -> None:
        """Ask, and print one line."""
        before = self._cpu()
        took = self.ask(path, rounds, between)
        cpu = (self._cpu() - before) / rounds
        times = f"{statistics.median(took) * 1000:8.1f}  ({max(took) * 1000:.1f})"
        print(f"{what:30} {times:22} {cpu * 1000:8.1f}", flush=True)

    def wait_until_indexed(self, messages: int) -> float:
        """Wait until the search's index has so many messages; return the seconds."""
        start = time.monotonic()
        while time.monotonic() - start < 600:
            self.connection.close()
            self.connection.request("GET", "/api/mailboxes")
            if json.loads(self.connection.getresponse().read())["indexed"] >= messages:
                return time.monotonic() - start
            time.sleep(1)
        raise RuntimeError("the index was not filled within ten minutes")

    def _cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(path: Path) -> Iterator[Client]:
    """A client of the page of a server process."""
    command = [sys.executable, "-m", "maildir_safe", "serve", str(path), "--smtp", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--web", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        banner = [process.stdout.readline() for _ in range(2)]
        found = re.search(r"http://([^/]+)/", "".join(banner))
        assert found, banner
        client = Client(HTTPConnection(found[1]), process.pid)
        try:
            yield client
        finally:
            client.connection.close()
            process.terminate()


def report_searches(client: Client, how: str, rounds: int) -> None:
    """Search for what no message has, one has, some have, and all have; each time for another word."""
    client.report(f"search, none, {how}", "/?search=nowhere{}", rounds)
    client.report(f"search, one, {how}", "/?search=99{}01", rounds)
    client.report(f"search, a hundredth, {how}", "/?search=ada4{}%40", rounds)
    client.report(f"search, all, {how}", "/?search=example.com+{}", rounds)
    client.report(f"search, two letters, {how}", "/?search=q{}", rounds)


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
        print(
            f"{args.messages} messages, {_ROUNDS} requests each; milliseconds: median (slowest), server's CPU"
        )
        with serving(Path(maildir.path)) as client:
            client.report("first page, cold", "/", 1)
            time.sleep(4)  # until the directories' times have settled
            client.ask("/")
            client.report("first page, warm", "/")
            client.report("last page, warm", f"/?offset={last}")
            message = next(maildir.messages()).key
            client.report("a message, warm", f"/message/{message}")
            deliver = lambda: maildir.deliver(b"Subject: one more\n\n")  # noqa: E731
            client.report("first page after a delivery", "/", between=deliver)
            report_searches(client, "direct", 1)
            filled = client.wait_until_indexed(args.messages)
            print(f"index filled after {filled:.0f} s", flush=True)
            report_searches(client, "indexed", _ROUNDS)


if __name__ == "__main__":
    main()
