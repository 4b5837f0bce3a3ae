"""A mount that is detached, and another in its place, under processes: mail goes where the path leads.

`umount -l` takes the name away and leaves the file system to those who hold it open: a process that went on
with its descriptors would answer 250 for mail that nobody finds at that path.
"""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Serve, until

from maildir_safe import Maildir, Queue

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(300)]

MESSAGE = b"Subject: %d\r\n\r\nworld\r\n"


def mount(image: Path, where: Path) -> None:
    subprocess.run(["mount", "-o", "loop", image, where], check=True)


class Disks:
    """Two file systems of one kind, of which one is mounted at `where`."""

    def __init__(self, directory: Path) -> None:
        self.where = directory / "mnt"
        self.where.mkdir()
        self.images = [directory / name for name in ("one", "two")]
        for image in self.images:
            image.touch()
            os.truncate(image, 64 << 20)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
            mount(image, self.where)
            Queue(self.where / "spool").close()
            Maildir(self.where / "m")
            self.detach()
        mount(self.images[0], self.where)

    def detach(self) -> None:
        subprocess.run(["umount", "-l", self.where], check=True)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disks]:
    found = Disks(tmp_path)
    yield found
    found.detach()


def accepts(serve: Serve, number: int) -> bool:
    """Whether the message is accepted; 4xx and a closed connection are no, and another answer is an error."""
    try:
        with serve.client() as client:
            client.sendmail("a@example.com", ["c@example.com"], MESSAGE % number)
    except smtplib.SMTPResponseException as error:
        if error.smtp_code < 500:
            return False
        raise
    except smtplib.SMTPServerDisconnected:
        return False
    return True


def accepted_for(serve: Serve, seconds: float, first: int) -> set[int]:
    """Send all the time; the numbers that were accepted."""
    end, accepted = time.monotonic() + seconds, set()
    while time.monotonic() < end:
        if accepts(serve, first):
            accepted.add(first)
        first += 1
        time.sleep(0.05)
    return accepted


def subject(text: bytes) -> int:
    return int(text.partition(b"Subject: ")[2].split()[0])


def queued(spool: Path) -> set[int]:
    with Queue(spool, create=False) as queue:
        return {subject(claim.read()) for claim in queue.claim(2000)}


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_serve_with_a_queue(tmp_path: Path, disks: Disks, workers: tuple[str, ...]) -> None:
    """While the path leads to nothing, nothing is accepted; then all is where the path led at that time."""
    serve = Serve(tmp_path, "--queue", f"{disks.where}/spool", *workers)
    before = accepted_for(serve, 1.0, 0)
    disks.detach()
    before |= accepted_for(serve, 8.0, 1000)  # until it is noticed
    assert accepted_for(serve, 2.0, 2000) == set()
    mount(disks.images[1], disks.where)
    until(lambda: accepts(serve, 3000))
    after = accepted_for(serve, 2.0, 4000)
    assert after
    code, log = serve.end()
    assert code == 0, log
    assert after <= queued(disks.where / "spool")
    old = tmp_path / "old"
    old.mkdir()
    mount(disks.images[0], old)  # what was accepted before the detachment was noticed is on its disk
    try:
        assert before <= queued(old / "spool")
    finally:
        subprocess.run(["umount", "-l", old], check=True)


def test_work(disks: Disks) -> None:
    """A worker delivers what is put where the path leads, and each item once."""
    words = ["work", str(disks.where / "spool"), "--to", f"maildir:{disks.where}/m"]
    process = subprocess.Popen([sys.executable, "-m", "maildir_safe", *words])

    def put(number: int) -> None:
        with Queue(disks.where / "spool", create=False) as queue:
            queue.put(MESSAGE % number, "a@example.com", ["c@example.com"])

    def delivered() -> list[int]:
        return [subject(path.read_bytes()) for path in (disks.where / "m" / "new").iterdir()]

    try:
        put(1)
        until(lambda: delivered() == [1])
        disks.detach()
        time.sleep(6.0)  # longer than it believes in what it holds open
        mount(disks.images[1], disks.where)
        put(2)
        until(lambda: delivered() == [2], 60)
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert process.returncode == 0
