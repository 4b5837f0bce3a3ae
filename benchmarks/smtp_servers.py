"""How each server of the SMTP benchmark is started, on a Maildir of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.children import ENVIRONMENT
from benchmarks.peers import chasquid, dovecot, opensmtpd, postfix
from maildir_safe import Queue


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        address: for `smtp_client.send`.
        pid: its process, whose memory is looked at; None where it is many.
    """

    address: str
    pid: int | None


@dataclass(frozen=True)
class Contender:
    """One server.

    Attributes:
        name: what the tables call it.
        durable: what is durable when it has answered 250.
        start: given an empty Maildir, runs it.
        lmtp: whether it speaks LMTP.
        stores: whether the messages are to be found afterwards.
        exact: whether they are stored byte for byte, below what is put on top.
        pipelined: whether it takes several commands in one write.
        queued: given the Maildir, how many messages wait in a queue beside or in it, while the server runs.
    """

    name: str
    durable: str
    start: Callable[[Path], AbstractContextManager[Running]]
    lmtp: bool = False
    stores: bool = True
    exact: bool = True
    pipelined: bool = True
    queued: Callable[[Path], int] | None = None


@contextmanager
def _process(command: list[str], address: str) -> Iterator[Running]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
        try:
            wait_until_it_answers(address, process)
            yield Running(address, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def wait_until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server takes a connection. Raises OSError if it ends, or takes none within 20 seconds."""
    end = time.monotonic() + 20
    while True:
        try:
            if "/" in address:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(address)
            else:
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port))).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.02)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_SERVE = [sys.executable, "-m", "maildir_safe", "serve", "--no-web", "--max-connections", "300"]


def _ours(*flags: str) -> Callable[[Path], AbstractContextManager[Running]]:
    def start(box: Path) -> AbstractContextManager[Running]:
        address = f"127.0.0.1:{free_port()}"
        return _process([*_SERVE, str(box), "--smtp", address, *flags], address)

    return start


def _our_queue(box: Path) -> AbstractContextManager[Running]:
    address = f"127.0.0.1:{free_port()}"
    spool = ["--queue", str(box / "spool")]
    return _process([*_SERVE, "--smtp", address, *spool], address)


def _our_queued(box: Path) -> int:
    with Queue(box / "spool") as queue:
        return sum(1 for _ in queue.items())


@contextmanager
def _our_lmtp(box: Path) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="smtp.") as place:
        address = f"{place}/socket"
        command = [*_SERVE, str(box), "--smtp", "127.0.0.1:0"]
        with _process([*command, "--lmtp", address], address) as running:
            yield running


def _peer(kind: str) -> Callable[[Path], AbstractContextManager[Running]]:
    def start(box: Path) -> AbstractContextManager[Running]:
        address = f"127.0.0.1:{free_port()}"
        return _process([sys.executable, "-m", "benchmarks.smtp_peers", kind, address, str(box)], address)

    return start


@contextmanager
def _dovecot(box: Path) -> Iterator[Running]:
    with dovecot.serving(box) as path:
        yield Running(str(path), None)


@contextmanager
def _postfix(box: Path) -> Iterator[Running]:
    with postfix.accepting(box) as port:
        yield Running(f"127.0.0.1:{port}", None)


@contextmanager
def _unpacked(box: Path, command: Callable[[Path, int], list[str]]) -> Iterator[Running]:
    port = free_port()
    place = box / "server"
    place.mkdir()
    for above in (box, *box.parents):  # the server drops its rights
        above.chmod(above.stat().st_mode | 0o011)
    with _process(command(place, port), f"127.0.0.1:{port}") as running:
        yield running


SMTP = "maildir_safe SMTP"
LMTP = "maildir_safe LMTP"
WORKERS = "maildir_safe SMTP, 2 workers"
QUEUE = "maildir_safe SMTP into a queue"
FRONT = "maildir_safe SMTP, storing nothing"
NOOP = "aiosmtpd, storing nothing"
MAILBOX = "aiosmtpd, handlers.Mailbox"
DOVECOT = "Dovecot LMTP"
POSTFIX = "Postfix, smtpd into its queue"
OPENSMTPD = "OpenSMTPD into its queue"
CHASQUID = "chasquid into its queue"


def contenders() -> list[Contender]:
    """Ours, and the others; those that cannot be started are found out when they run."""
    everyone = [
        Contender(SMTP, "yes", _ours()),
        Contender(LMTP, "yes", _our_lmtp, lmtp=True),
        Contender(WORKERS, "yes", _ours("--workers", "2")),
        Contender(QUEUE, "yes", _our_queue, stores=False, queued=_our_queued),
        Contender(FRONT, "nothing", _peer("front"), stores=False),
        Contender(NOOP, "nothing", _peer("noop"), stores=False),
        Contender(MAILBOX, "file only", _peer("mailbox"), exact=False),
    ]
    if os.geteuid() == 0:
        everyone += [
            Contender(DOVECOT, "yes", _dovecot, lmtp=True),
            Contender(POSTFIX, "file only", _postfix, stores=False, queued=postfix.queued),
            Contender(
                OPENSMTPD,
                "nothing",
                partial(_unpacked, command=opensmtpd.command),
                stores=False,
                pipelined=False,
                queued=lambda box: opensmtpd.queued(box / "server"),
            ),
            Contender(CHASQUID, "nothing", partial(_unpacked, command=chasquid.command), stores=False),
        ]
    return everyone
