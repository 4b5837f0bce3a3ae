"""kill -9 under load: what was answered with 250 is there, once; and what a huge message does to memory."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from smtp_support import Serve, Wire

from benchmarks.smtp_client import Load, send, wire_form

CONNECTIONS = 32
_MANY = 5000


def numbered(number: int) -> bytes:
    return wire_form(b"Subject: %d\n\n" % number + b"x" * 4000 + b"\n")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("lmtp", [False, True])
def test_kill_9_under_load(tmp_path: Path, workers: int, lmtp: bool, record_property: object) -> None:
    """Five times: 32 connections, SIGKILL at a random moment, the same Maildir again.

    The client writes down each 250. Afterwards every number in that ledger is in new/ exactly once,
    complete; and since each message was sent once, nothing at all is there twice.
    """
    moments = random.Random(f"{workers}{lmtp}")
    acknowledged: set[int] = set()
    for turn in range(5):
        serve = Serve(tmp_path, "--workers", str(workers), "--lmtp", f"{tmp_path}/l{turn}")
        first = turn * 100_000
        ledger = Load()
        client = threading.Thread(target=_send, args=(serve, lmtp, tmp_path, turn, first, ledger))
        client.start()
        _wait_for(ledger, 1 + moments.randrange(200))
        _kill_all(serve)
        client.join(60)
        assert not client.is_alive()
        assert ledger.refused == []
        assert len(ledger.acknowledged) < _MANY, "it was to be killed while mail came in"
        acknowledged |= {first + number for number in ledger.acknowledged}
    stored = Counter(_number(file) for file in (tmp_path / "Maildir" / "new").iterdir())
    assert acknowledged - stored.keys() == set()
    assert [number for number, copies in stored.items() if copies > 1] == []
    assert len(acknowledged) >= 5
    unanswered = len(stored.keys() - acknowledged)
    assert unanswered <= 5 * CONNECTIONS
    note = f"kill -9, workers={workers}, lmtp={lmtp}: {len(acknowledged)} acknowledged, all there, none twice"
    record_property("note", f"{note}; {unanswered} stored and not yet answered")  # type: ignore[operator]


def _send(serve: Serve, lmtp: bool, directory: Path, turn: int, first: int, ledger: Load) -> None:
    address = f"{directory}/l{turn}" if lmtp else serve.address
    with contextlib.suppress(OSError):  # the server is killed
        send(address, lmtp, [numbered(first + n) for n in range(_MANY)], CONNECTIONS, ledger)


def _wait_for(ledger: Load, count: int) -> None:
    done = threading.Event()
    while len(ledger.acknowledged) < count:
        done.wait(0.001)


def _kill_all(serve: Serve) -> None:
    """The parent first, stopped, so that it cannot begin anything while its workers die."""
    pid = serve.process.pid
    os.kill(pid, signal.SIGSTOP)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    serve.end(signal.SIGKILL)


def _number(file: Path) -> int:
    content = file.read_bytes()
    match = re.search(rb"\n\tfor <box@example.org>; [^\n]+\nSubject: (\d+)\n\nx{4000}\n\Z", content)
    assert match, f"{file} is not complete"
    return int(match[1])


def test_a_gigabyte_is_refused_in_little_memory(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--max-in-flight", str(64 << 20))
    wire = Wire(serve.address)
    wire.ready_for_data()
    block = b"x" * 1022 + b"\r\n"
    for _ in range(1024):
        wire.send(block * 1024)
    assert wire.ask(".").startswith("552 5.3.4")
    status = Path(f"/proc/{serve.process.pid}/status").read_text()
    assert int(status.partition("VmHWM:")[2].split()[0]) < 150 << 10  # KiB
    assert serve.end()[0] == 0
