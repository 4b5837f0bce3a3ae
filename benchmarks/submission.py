"""How many messages a second do eight programs hand to `sendmail`? ``python -m benchmarks.submission``.

Makes its own ext4 (root), and runs the senders of Debian's packages and ours there, each in a mount namespace
of its own (`tests.system.sendmail_room`): nullmailer, dma and Postfix queue the message and nothing sends it;
msmtp sends it to a server on this machine, which stores nothing. Eight callers start one process for each
message. Contenders alternate. What is durable is seen by strace: which files and directories were fsynced
before the exit code. After each round the queue must hold as many messages as exit codes said.
``--save`` writes results/submission.json and the table in README.md.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.deliver_report import environment
from benchmarks.deliver_rounds import message
from benchmarks.kept import keep
from benchmarks.mounts import mounted
from maildir_safe import Queue
from tests.system import sendmail_programs
from tests.system.sendmail_room import Room
from tests.system.smarthost import Smarthost

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
BEGIN = "<!-- submission: written by `python -m benchmarks.submission --save` -->\n"
END = "<!-- end of submission -->\n"
CALLERS = 8
OURS = "maildir_safe"
INSTALLED = str(Path(sys.executable).with_name("maildir-safe"))  # as pip installs it
TO = ("-f", "ann@sink.example", "bob@sink.example")
COMMANDS = {
    "nullmailer": ("/usr/sbin/sendmail",),
    "dma": ("/usr/sbin/dma",),
    "msmtp": ("/usr/bin/msmtp", "-C", "/etc/msmtprc"),
    "Postfix": ("/usr/sbin/sendmail",),
    OURS: ("sendmail",),
}
QUEUED = {"nullmailer": "nullmailer/queue/*", "dma": "dma/Q*", "Postfix": "postfix/maildrop/*"}

DRIVER = """
import subprocess, sys, threading, time
callers, seconds, words = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
counts = []
def call():
    sent = failed = 0
    while time.monotonic() < end:
        with open("/var/spool/message", "rb") as text:
            done = subprocess.run(words, stdin=text, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sent, failed = sent + (done.returncode == 0), failed + (done.returncode != 0)
    counts.append((sent, failed))
began = time.monotonic()
end = began + seconds
threads = [threading.Thread(target=call) for _ in range(callers)]
[one.start() for one in threads]
[one.join() for one in threads]
print(sum(sent for sent, _ in counts), sum(failed for _, failed in counts), time.monotonic() - began)
"""


class Contender:
    """One program, with a queue on the mount.

    Attributes:
        rates: messages a second in each round.
        problems: what differed between the exit codes and the queue.
        durable: what was fsynced before the exit code: ``yes`` (file and directory), ``file only`` or
            ``nothing``.
    """

    def __init__(self, name: str, room: Room, taken: Callable[[], int]) -> None:
        self.rates: list[float] = []
        self.problems: list[str] = []
        self.name, self._room = name, room
        words = COMMANDS[name] if name != OURS else (INSTALLED, *COMMANDS[name])
        self._words = (*words, *TO)
        self._taken = taken
        room.configure("dma/dma.conf", "DEFER\n")
        (room.spool / "message").write_bytes(message(0))
        if name == OURS:
            Queue(room.spool / "ours").close()
        self.durable = self._seen_by_strace()

    def run(self, seconds: float) -> None:
        """One round."""
        before = self._there()
        code, said = self._room.run("python3", "-c", DRIVER, str(CALLERS), str(seconds), *self._words)
        if code:
            raise SystemExit(f"{self.name}: {said}")
        sent, failed, took = map(float, said.split())
        self.rates.append(sent / took)
        there = self._there() - before
        if failed or there != sent:
            self.problems.append(f"{failed:.0f} failed, {sent:.0f} exit codes 0, {there} messages")

    def _there(self) -> int:
        if self.name == "msmtp":
            return self._taken()
        if self.name != OURS:
            return len(self._room.files(QUEUED[self.name]))
        with Queue(self._room.spool / "ours", create=False) as queue:
            return queue.stats()["pending"]

    def _seen_by_strace(self) -> str:
        trace = "/var/spool/trace"
        strace = ("strace", "-f", "-y", "-e", "trace=fsync,fdatasync,syncfs", "-o", trace)
        code, said = self._room.run(*strace, *self._words, message=message(0))
        if code:
            raise SystemExit(f"{self.name}: {said}")
        lines = (self._room.spool / "trace").read_text()
        paths = re.findall(r"sync\(\d+</var/spool/([^>]*)>\) += 0", lines)
        directories = [path for path in paths if (self._room.spool / path).is_dir()]
        if len(directories) < len(paths):
            return "yes" if directories else "file only"
        return "nothing"


def run(folder: Path, rounds: int, seconds: float) -> list[Contender]:
    """Run all contenders `rounds` times, in turned order."""
    unpacked = sendmail_programs.unpack(folder)
    with Smarthost() as server:
        everyone = []
        for name in COMMANDS:
            (folder / f"room.{name}").mkdir()
            room = Room(name, unpacked.get(name), folder / f"room.{name}", server.port)
            everyone.append(Contender(name, room, lambda: len(server.taken)))
        for turn in range(rounds):
            for one in everyone if turn % 2 else reversed(everyone):
                one.run(seconds)
                print(f"round {turn + 1} of {rounds}: {one.name}", file=sys.stderr)
    return everyone


def text(everyone: list[Contender], about: Mapping[str, object]) -> str:
    """A table in Markdown."""
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    lines += ["| sender | durable at exit code 0 | messages/s | least - most |", "|---|---|--:|--:|"]
    for one in everyone:
        name = f"{one.name}, to a server that stores nothing" if one.name == "msmtp" else one.name
        lines.append(
            f"| {name} | {one.durable} | {statistics.median(one.rates):,.0f} "
            f"| {min(one.rates):,.0f} - {max(one.rates):,.0f} |"
        )
    problems = [f"- {one.name}: {problem}" for one in everyone for problem in one.problems]
    return "\n".join([*lines, "", *(problems or ["Each exit code 0 was one message."])]) + "\n"


def save(report: str, everyone: list[Contender], about: Mapping[str, object]) -> None:
    """Write what was measured where it is published."""
    found = {one.name: {"durable": one.durable, "rates": one.rates} for one in everyone}
    keep(HERE / "results/submission.json", {"about": dict(about), "senders": found})
    published = README.read_text()
    before, after = published[: published.index(BEGIN)], published[published.index(END) :]
    README.write_text(before + BEGIN + report + after)


def main() -> int:
    """The command."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process compiles our modules anew
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.submission", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each runs (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long, each time (default: 2)")
    parser.add_argument("--save", action="store_true", help="write results/submission.json and README.md")
    options = parser.parse_args()
    about = {**environment(), "mount": "ext4", "callers": CALLERS, "rounds": options.rounds}
    with mounted("ext4", size=1024) as mount:
        folder = mount.folder()
        for above in (folder, *folder.parents[:-2]):
            above.chmod(above.stat().st_mode | 0o111)  # dma and nullmailer change their user
        everyone = run(folder, options.rounds, options.seconds)
    report = text(everyone, {**about, "seconds": options.seconds})
    print(report)
    if options.save:
        save(report, everyone, about)
    return 1 if any(one.problems for one in everyone) else 0


if __name__ == "__main__":
    sys.exit(main())
