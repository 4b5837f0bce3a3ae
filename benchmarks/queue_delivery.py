"""How fast does mail go through the queue into a Maildir? ``python -m benchmarks.queue_delivery``.

    python -m benchmarks.queue_delivery [DIRECTORY] [--messages N] [--rounds N] [--json FILE]

One process puts messages of 4 KiB one by one, and another delivers them: `maildir-safe work`, by one rename
each. Beside it, in turns, two processes make the bare calls: create, write, fsync, close, rename and fsync of
the bucket; then rename into new/ and fsync of new/. The time runs from the first put until the last message
is in new/. On its own ext4 image (root), or in DIRECTORY. Exit status 1 if the figure is not reached.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.against import against
from benchmarks.children import ENVIRONMENT
from benchmarks.mounts import mounted
from benchmarks.queue_contenders import MESSAGE, RECIPIENT, SENDER
from maildir_safe import Maildir, Queue
from maildir_safe._queue.store.envelope import head

TARGET = 0.6
_PATIENCE = 120.0  # seconds
_FILE = head(SENDER, [RECIPIENT]) + MESSAGE

Put = Callable[[int], object]
"""Puts the message with this number, durably."""


@contextlib.contextmanager
def ours(place: Path) -> Iterator[Put]:
    """`Queue.put` here, and a worker in a process of its own."""
    Maildir(place / "box")
    with Queue(place / "spool") as queue:
        work = [sys.executable, "-m", "maildir_safe", "work", str(place / "spool")]
        with _process([*work, "--to", f"maildir:{place / 'box'}"]):
            yield lambda _: queue.put(MESSAGE, SENDER, [RECIPIENT])


@contextlib.contextmanager
def bare(place: Path) -> Iterator[Put]:
    """The bare calls here, and in a process of its own those of a worker."""
    for name in ("tmp", "pending", "box/new"):
        (place / name).mkdir(parents=True)
    tmp, pending = (os.open(place / name, os.O_RDONLY | os.O_DIRECTORY) for name in ("tmp", "pending"))

    def put(number: int) -> None:
        name = f"item{number}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tmp)
        os.write(fd, _FILE)
        os.fsync(fd)
        os.close(fd)
        os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=pending)
        os.fsync(pending)

    try:
        with _process([sys.executable, "-m", "benchmarks.queue_delivery", "--move", str(place)]):
            yield put
    finally:
        os.close(tmp)
        os.close(pending)


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[None]:
    with subprocess.Popen(command, env=ENVIRONMENT) as process:
        try:
            yield
        finally:
            process.terminate()


def move(place: Path) -> None:
    """Rename what appears in pending/ into new/, each with an fsync, until this process is ended."""
    pending, new = (os.open(place / name, os.O_RDONLY | os.O_DIRECTORY) for name in ("pending", "box/new"))
    while True:
        names = os.listdir(place / "pending")
        for name in names:
            os.rename(name, name, src_dir_fd=pending, dst_dir_fd=new)
            os.fsync(new)
        if not names:
            time.sleep(0.001)


def rate(kind: Callable[[Path], contextlib.AbstractContextManager[Put]], base: Path, count: int) -> float:
    """Messages a second, once the first has come through.

    Raises:
        TimeoutError: they do not arrive.
    """
    with tempfile.TemporaryDirectory(dir=base) as directory, kind(Path(directory)) as put:
        new = Path(directory, "box", "new")
        put(0)
        _wait_for(new, 1)
        start = time.perf_counter()
        for number in range(1, count + 1):
            put(number)
        _wait_for(new, count + 1)
        return count / (time.perf_counter() - start)


def _wait_for(new: Path, count: int) -> None:
    end = time.monotonic() + _PATIENCE
    while (found := len(os.listdir(new))) != count:
        if time.monotonic() > end:
            raise TimeoutError(f"{found} of {count} messages have arrived")
        time.sleep(0.002)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _arguments(arguments)
    if options.move:
        move(options.move)
    what = "put, claim, ack_into by a worker process / the bare calls"
    with contextlib.ExitStack() as stack:
        base = options.directory or stack.enter_context(mounted("ext4", size=1024)).folder()
        contenders = {
            name: partial(rate, kind, base, options.messages)
            for name, kind in {"ours": ours, "bare": bare}.items()
        }
        return against(what, TARGET, contenders, options)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.queue_delivery", description=__doc__.split("\n")[0]
    )
    parser.add_argument("directory", type=Path, nargs="?", help="where (default: an ext4 image)")
    parser.add_argument("--messages", type=int, default=1000, help="in a round (default: 1,000)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each runs (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--move", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
