"""How fast does mail come in by SMTP and LMTP? ``python -m benchmarks.smtp``.

Makes its own ext4 (root). Every server runs on a fresh Maildir there, with the same client
(`smtp_client`), 8, 32 and 128 connections that are kept, messages of 4 KiB; servers alternate, and two
are compared by the median of their ratios, taken round by round. After each run every message
that was acknowledged must be in the Maildir, once. Exit status 1 if a figure is not reached.
A server that does not come up is named.
``--save`` writes results/smtp.json and the tables in README.md.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.deliver_figures import Figure
from benchmarks.deliver_report import environment
from benchmarks.deliver_rounds import SIZE, Series, message, ratio
from benchmarks.mounts import KINDS, mounted
from benchmarks.smtp_client import Load, send, wire_form
from benchmarks.smtp_report import Results, as_json, save, text
from benchmarks.smtp_servers import (
    DOVECOT,
    FRONT,
    LMTP,
    MAILBOX,
    NOOP,
    POSTFIX,
    QUEUE,
    SMTP,
    WORKERS,
    Contender,
    contenders,
)

CONNECTIONS = (8, 32, 128)
_IMAGE = 3072  # MiB
_MOST = 20_000  # messages in a run

# ours, the other, connections, ours is to be at least this many times as fast
_RATIOS = (
    (LMTP, DOVECOT, 8, 1.0),
    (LMTP, DOVECOT, 32, 1.5),
    (SMTP, MAILBOX, 8, 2.0),
    (SMTP, MAILBOX, 32, 2.0),
    (SMTP, NOOP, 32, 0.8),
    (SMTP, FRONT, 32, 0.55),  # what storing leaves of the front end's speed
    (SMTP, FRONT, 128, 0.65),
    (SMTP, DOVECOT, 8, 2.0),
    (SMTP, DOVECOT, 32, 4.0),
    (SMTP, DOVECOT, 128, 5.0),
    (SMTP, POSTFIX, 8, 2.0),  # the only one of the three mail servers that syncs anything
    (SMTP, POSTFIX, 32, 2.0),
    (WORKERS, SMTP, 32, 1.6),
    (QUEUE, SMTP, 32, 0.9),
)
_CPU_CONNECTIONS, _CPU_TARGET = 32, 250.0  # µs of processor time a message


def main() -> int:
    """The command."""
    options = _arguments()
    rounds, seconds = (3, 0.5) if options.quick else (options.rounds, options.seconds)
    messages = [wire_form(message(number)) for number in range(_MOST)]
    everyone = contenders()
    about = {**environment(), "mount": options.mount, "rounds": rounds, "seconds": seconds}
    with mounted(options.mount, size=_IMAGE) as mount:
        folder = mount.folder()
        rates, absent = present(everyone, folder, messages[:640])
        here = [one for one in everyone if one.name in rates]
        results = run(here, rates, folder, messages, rounds, seconds)
        figures = _speed_figures(results, absent)
        if not options.quick:
            figures += [_memory(everyone, folder, messages), _processor_time(everyone, folder, messages)]
        report = text(results, figures, about, absent)
        print(report)
        if options.save:
            save(report, as_json(results, figures, about))
    failed = any(figure.verdict == "FAIL" for figure in figures)
    return 1 if failed or any(series.problems for series in results.values()) else 0


def run(
    everyone: Sequence[Contender],
    rates: dict[str, float],
    folder: Path,
    messages: Sequence[bytes],
    rounds: int,
    seconds: float,
) -> Results:
    """Run all contenders `rounds` times; each run takes about so many seconds, as `rates` tell."""
    results = {(one.name, n): Series(one.durable) for one in everyone for n in CONNECTIONS}
    counts = {one.name: _multiple(rates[one.name] * seconds) for one in everyone}
    for turn in range(rounds):
        for one in everyone if turn % 2 else list(reversed(everyone)):
            _round(one, folder, messages[: counts[one.name]], results)
            print(f"round {turn + 1} of {rounds}: {one.name}", file=sys.stderr)
    return results


def present(
    everyone: Sequence[Contender], folder: Path, messages: Sequence[bytes]
) -> tuple[dict[str, float], dict[str, str]]:
    """A first look: messages a second of each, and of those that do not come up, why."""
    rates, absent = {}, {}
    for one in everyone:
        try:
            rates[one.name] = _rate(one, folder, messages)
        except (OSError, subprocess.CalledProcessError) as error:
            absent[one.name] = str(error).strip().replace("\n", " ")
            print(f"{one.name} does not come up: {absent[one.name]}", file=sys.stderr)
    return rates, absent


def _multiple(wanted: float) -> int:
    return max(64, min(_MOST, int(wanted)) // 32 * 32)


def _rate(one: Contender, folder: Path, messages: Sequence[bytes]) -> float:
    box = _fresh(folder)
    try:
        with one.start(box) as running:
            load = send(running.address, one.lmtp, messages, 8, pipelined=one.pipelined)
    finally:
        shutil.rmtree(box)
    return len(load.acknowledged) / load.seconds


def _round(one: Contender, folder: Path, messages: Sequence[bytes], results: Results) -> None:
    """One server, started anew: a short run that does not count, then each number of connections."""
    for connections in CONNECTIONS:
        box = _fresh(folder)
        series = results[one.name, connections]
        with one.start(box) as running:
            warm, load = (
                send(running.address, one.lmtp, part, connections, pipelined=one.pipelined)
                for part in (messages[:connections], messages)
            )
            queued = one.queued(box) if one.queued else None
        problem = _problem(one, box, messages, [warm, load], queued)
        if problem:
            series.problems.append(problem)
        series.rates.append(len(load.acknowledged) / load.seconds if not problem else float("nan"))
        shutil.rmtree(box)


def _fresh(folder: Path) -> Path:
    box = folder / "box"
    for name in ("tmp", "new", "cur"):
        (box / name).mkdir(parents=True)
    return box


def _problem(
    one: Contender, box: Path, messages: Sequence[bytes], loads: Sequence[Load], queued: int | None
) -> str:
    """What differs between what was acknowledged and what is there; "" if nothing does."""
    refused = [reply for load in loads for reply in load.refused]
    if refused:
        return f"refused: {refused[0]}"
    acknowledged = sum(len(load.acknowledged) for load in loads)
    if queued is not None and queued != acknowledged:
        return f"{acknowledged} acknowledged messages, but {queued} in the queue"
    if not one.stores:
        return ""
    sent = {_number(text): text.replace(b"\r\n", b"\n").removesuffix(b".\n") for text in messages}
    found: Counter[int] = Counter()
    for file in (box / "new").iterdir():
        content = file.read_bytes()
        number = _number(content)
        if one.exact and content[-SIZE:] != sent[number]:
            return f"message {number} was changed"
        found[number] += 1
    wanted = Counter(number for load in loads for number in load.acknowledged)
    if found == wanted:
        return ""
    return f"{(wanted - found).total()} acknowledged messages are lost, {(found - wanted).total()} doubled"


def _number(content: bytes) -> int:
    match = re.search(rb"^Subject: (\d+)\r?$", content, re.MULTILINE)
    assert match
    return int(match[1])


def _speed_figures(results: Results, absent: dict[str, str]) -> list[Figure]:
    figures = []
    for ours, other, connections, target in _RATIOS:
        what = f"{ours} / {other}, {connections} connections"
        mine, theirs = results[ours, connections], results.get((other, connections))
        if theirs is None:
            figures.append(Figure(what, target, None, absent.get(other, "needs root")))
        else:
            figures.append(
                Figure(what, target, ratio(mine, theirs), f"{mine.median:.0f}/s and {theirs.median:.0f}/s")
            )
    return figures


def _memory(everyone: Sequence[Contender], folder: Path, messages: Sequence[bytes]) -> Figure:
    """Resident memory after 100,000 messages, against that after 20,000: it has to be flat."""
    box = _fresh(folder)
    sizes = []
    ours = next(one for one in everyone if one.name == SMTP)
    with ours.start(box) as running:
        for _ in range(5):
            send(running.address, False, messages, 32)
            sizes.append(_resident(running.pid))
            for file in (box / "new").iterdir():
                file.unlink()
    shutil.rmtree(box)
    detail = f"{sizes[0]} KiB after {len(messages)} messages, {sizes[-1]} KiB after {5 * len(messages)}"
    return Figure(
        "resident memory, 100,000 messages / 20,000", 1.05, sizes[-1] / sizes[0], detail, at_most=True
    )


def _processor_time(everyone: Sequence[Contender], folder: Path, messages: Sequence[bytes]) -> Figure:
    """Processor time a message, of all processes and threads of the server; the medians of a few runs."""
    spent = []
    ours = next(one for one in everyone if one.name == SMTP)
    for _ in range(3):
        box = _fresh(folder)
        with ours.start(box) as running:
            assert running.pid is not None
            send(running.address, False, messages[:2000], _CPU_CONNECTIONS)
            before = processor_time(running.pid)
            load = send(running.address, False, messages[:10_000], _CPU_CONNECTIONS)
            spent.append((processor_time(running.pid) - before) / len(load.acknowledged) * 1e6)
        shutil.rmtree(box)
    return Figure(
        f"µs of processor time a message, {_CPU_CONNECTIONS} connections", _CPU_TARGET,
        statistics.median(spent), ", ".join(f"{one:.0f}" for one in spent), at_most=True,
    )  # fmt: skip


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process, and those that it started, have used."""
    spent, waiting = 0.0, [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
            spent += int((task / "schedstat").read_text().split()[0]) / 1e9
            waiting += map(int, (task / "children").read_text().split())
    return spent


def _resident(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smtp", description=__doc__.split("\n")[0])
    parser.add_argument("--mount", default="ext4", choices=KINDS, metavar="KIND")
    parser.add_argument("--rounds", type=int, default=5, help="how often each runs (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="about how long, each time (default: 1.5)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.5 s: a look, not a measurement")
    parser.add_argument("--save", action="store_true", help="write results/smtp.json and README.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
