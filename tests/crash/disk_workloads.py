"""What runs on the recorded disk, in a process of its own: deliver, and say so.

Run as ``disk_workloads.py WORKLOAD MAILDIR MARKS COUNT``. Each message is acknowledged by
writing its number into the file MARKS, after the delivering call has returned. The raw ones are
controls: the six calls that are enough, and the same with a step left out.
"""

from __future__ import annotations

import asyncio
import mailbox
import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem

BATCH = 8
Acknowledge = Callable[[range], None]


def message(number: int) -> bytes:
    """The message of that number: always the same, unlike any other, 0.3 to 12 KiB."""
    rng = random.Random(number)
    head = f"From: a@example.org\nMessage-ID: <{number}@example.org>\nSubject: {number}\n\n".encode()
    return head + b"".join(rng.randbytes(30).hex().encode() + b"\n" for _ in range(rng.randrange(5, 200)))


def settle(path: str) -> None:
    """Put everything on the disk; only this disk: os.sync would wait for those of the machine."""
    fd = os.open(path, os.O_RDONLY)
    OsFileSystem().syncfs(fd)
    os.close(fd)


def deliver(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Ours, one by one, into a Maildir that it makes."""
    maildir = Maildir(path)
    for number in range(count):
        maildir.deliver(message(number))
        acknowledge(range(number, number + 1))


def deliver_and_read(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Ours; and later, when all is on the disk, a reader moves a message to cur/ and changes its flags."""
    maildir = Maildir(path)
    for number in range(count):
        key = maildir.deliver(message(number)).key
        acknowledge(range(number, number + 1))
        if number % 4 == 0:
            settle(path)
            maildir.set_flags(key, "S")
            maildir.set_flags(key, "RS")


def deliver_many(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Ours, group commit, into a Maildir that it makes."""
    maildir = Maildir(path)
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        maildir.deliver_many([message(number) for number in numbers])
        acknowledge(numbers)


def deliver_in_threads(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Ours, from sixteen threads at once, which share fsyncs."""
    maildir = Maildir(path)

    def one(number: int) -> None:
        maildir.deliver(message(number))
        acknowledge(range(number, number + 1))

    with ThreadPoolExecutor(2 * BATCH) as pool:
        list(pool.map(one, range(count)))


def deliver_async(path: str, count: int, acknowledge: Acknowledge) -> None:
    """Ours, as sixteen tasks of one event loop, which share fsyncs."""
    maildir = Maildir(path)

    async def some(numbers: range) -> None:
        for number in numbers:
            await maildir.deliver_async(message(number))
            acknowledge(range(number, number + 1))

    async def everything() -> None:
        await asyncio.gather(*(some(range(start, count, 2 * BATCH)) for start in range(2 * BATCH)))

    asyncio.run(everything())


def stdlib(path: str, count: int, acknowledge: Acknowledge) -> None:
    """The standard library's mailbox.Maildir.add; its empty Maildir is made durable for it."""
    box = mailbox.Maildir(path)
    settle(path)
    for number in range(count):
        box.add(message(number))
        acknowledge(range(number, number + 1))


def six_calls(path: str, count: int, acknowledge: Acknowledge) -> None:
    """create, write, fsync, close, rename, fsync of the directory."""
    _raw(path, count, acknowledge, sync_file=True, sync_directory=True)


def no_directory_fsync(path: str, count: int, acknowledge: Acknowledge) -> None:
    """create, write, fsync, close, rename."""
    _raw(path, count, acknowledge, sync_file=True, sync_directory=False)


def no_fsync(path: str, count: int, acknowledge: Acknowledge) -> None:
    """create, write, close, rename."""
    _raw(path, count, acknowledge, sync_file=False, sync_directory=False)


def move_fsync_target(path: str, count: int, acknowledge: Acknowledge) -> None:
    """A reader moves old messages from new/ to cur/ and fsyncs cur/: not enough on btrfs."""
    _move(path, count, acknowledge, ["cur"])


def move_fsync_both(path: str, count: int, acknowledge: Acknowledge) -> None:
    """A reader moves old messages from new/ to cur/, fsyncs what they left, then where they are."""
    _move(path, count, acknowledge, ["new", "cur"])


def _move(path: str, count: int, acknowledge: Acknowledge, sync: list[str]) -> None:
    deliver_many(path, count, acknowledge)
    settle(path)
    fds = [os.open(os.path.join(path, part), os.O_RDONLY) for part in sync]
    for name in os.listdir(os.path.join(path, "new")):
        os.rename(os.path.join(path, "new", name), os.path.join(path, "cur", f"{name}:2,S"))
        for fd in fds:
            os.fsync(fd)


def _raw(path: str, count: int, acknowledge: Acknowledge, sync_file: bool, sync_directory: bool) -> None:
    for part in ("", "tmp", "new", "cur"):
        os.mkdir(os.path.join(path, part))
    settle(path)
    new = os.open(os.path.join(path, "new"), os.O_RDONLY)
    for number in range(count):
        staged = os.path.join(path, "tmp", str(number))
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, message(number))
        if sync_file:
            os.fsync(fd)
        os.close(fd)
        os.rename(staged, os.path.join(path, "new", str(number)))
        if sync_directory:
            os.fsync(new)
        acknowledge(range(number, number + 1))


OURS = (deliver, deliver_and_read, deliver_many, deliver_in_threads, deliver_async)
CONTROLS = (stdlib, no_directory_fsync, no_fsync)
MODELS = (six_calls, move_fsync_both)
WORKLOADS = {one.__name__: one for one in (*OURS, *MODELS, *CONTROLS, move_fsync_target)}


def main() -> None:
    """Run one workload to its end."""
    name, path, marks, count = sys.argv[1:]
    fd = os.open(marks, os.O_WRONLY)

    def acknowledge(numbers: range) -> None:
        os.write(fd, b" ".join(b"%d" % number for number in numbers))

    os.write(fd, b"ready")
    if name.startswith("queue"):
        import disk_queue

        getattr(disk_queue, name)(path, int(count), acknowledge)
    else:
        WORKLOADS[name](path, int(count), acknowledge)


if __name__ == "__main__":
    main()
