"""Programs that take one message on standard input: a process for each, as an MTA runs them.

Durability as strace shows it: all fsync the file; only ours fsyncs the directory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.children import ENVIRONMENT
from benchmarks.deliver_rounds import Contender, Deliver
from benchmarks.peers.peer import Peer

OURS = str(Path(sys.executable).with_name("maildir-safe"))

_Command = Callable[[Path, Path], list[str | Path]]
"""Given the Maildir and a scratch directory: program and arguments."""


@contextmanager
def _processes(box: Path, command: _Command) -> Iterator[Deliver]:
    with tempfile.TemporaryDirectory(prefix="peer.") as scratch:
        arguments = command(box, Path(scratch))

        def deliver(messages: Sequence[bytes]) -> None:
            for message in messages:
                subprocess.run(
                    arguments, input=message, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT
                )

        yield deliver


def _safecat(box: Path, _: Path) -> list[str | Path]:
    return ["/usr/bin/safecat", box / "tmp", box / "new"]


def _procmail(box: Path, scratch: Path) -> list[str | Path]:
    # what cannot be delivered would go to the mbox, and be missed in the Maildir
    return ["/usr/bin/procmail", "-m", f"DEFAULT={box}/", f"ORGMAIL={scratch}/mbox", "/dev/null"]


def _maildrop(box: Path, scratch: Path) -> list[str | Path]:
    rules = scratch / "rules"
    rules.write_text(f'to "{box}/"\n')
    rules.chmod(0o600)
    return ["/usr/bin/maildrop", rules]


def _ours(box: Path, _: Path) -> list[str | Path]:
    return [OURS, "deliver", box]


def _peer(name: str, package: str, durable: str, program: str, command: _Command) -> Peer:
    return Peer(Contender(name, durable, partial(_processes, command=command)), program, package)


PROGRAMS = (
    _peer("maildir-safe deliver, a process each", "(this project)", "yes", OURS, _ours),
    _peer("safecat, a process each", "safecat", "file only", "/usr/bin/safecat", _safecat),
    _peer("procmail, a process each", "procmail", "file only", "/usr/bin/procmail", _procmail),
    _peer("maildrop, a process each", "maildrop", "file only", "/usr/bin/maildrop", _maildrop),
)
