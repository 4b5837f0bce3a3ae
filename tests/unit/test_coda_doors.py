"""Every door of the package on a mount where no directory may stay open: none uses a closed descriptor.

The simulator refuses a closed descriptor with EBADF, as the kernel does, and never gives its number again.
"""

from __future__ import annotations

import asyncio
import smtplib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maildir_safe import Maildir, Queue, QuotaExceeded, mailbox
from maildir_safe._check.fsck import SpoolCheck
from maildir_safe._check.fsck_maildir import MaildirCheck
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._fs.quirks import quirks
from maildir_safe._maildir.side_file import SideFiles
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.worker import Worker
from maildir_safe.testing.simfs import SimHost, SimServer
from tests.smtp_support import serving, stored

MAIL = b"Subject: hello\n\nworld\n"


class Door:
    """A Maildir of a Coda client with two messages; `key` is in new/, `seen` in cur/."""

    def __init__(self) -> None:
        self.host = SimHost(SimServer("coda"))
        self.box = Maildir("/m", fs=self.host)
        self.key = self.box.deliver(MAIL).key
        self.seen = self.box.deliver(MAIL, flags="S").key
        self.box.folder("Sub").deliver(MAIL)

    def read(self) -> bytes:
        with self.box.open(self.key) as file:
            return file.read()

    def limited(self, quota: bytes) -> None:
        beside = SideFiles.beside(self.box)
        beside.write("maildirsize", quota)
        assert beside.read("maildirsize", 100) == quota
        self.box.check_quota(1)

    def exceeded(self) -> None:
        with pytest.raises(QuotaExceeded):
            self.limited(b"50S\n66 3\n")

    def checked(self) -> list[Any]:
        return list(MaildirCheck("/m", fs=self.host).run())


DOORS: dict[str, Callable[[Door], Any]] = {
    "deliver": lambda door: door.box.deliver(MAIL).key != "",
    "deliver_many": lambda door: len(door.box.deliver_many([MAIL] * 4)) == 4,
    "deliver_async": lambda door: asyncio.run(door.box.deliver_async(MAIL)).key != "",
    "deliver with an id": lambda door: (
        door.box.deliver(MAIL, delivery_id="x").key == door.box.deliver(MAIL, delivery_id="x").key
    ),
    "deliver into a folder": lambda door: door.box.deliver(MAIL, folder="Other").key != "",
    "folders": lambda door: door.box.folders() == ["Sub"],
    "folder": lambda door: len(list(door.box.folder("Sub", create=False).messages())) == 1,
    "messages": lambda door: {one.key for one in door.box.messages()} == {door.key, door.seen},
    "find": lambda door: door.box.find(door.seen).flags == "S",
    "open": lambda door: door.read() == MAIL,
    "stamp": lambda door: len(door.box.stamp()) == 2,
    "size": lambda door: door.box.size() == 2 * len(MAIL),
    "set_flags": lambda door: door.box.set_flags(door.key, "RS").flags == "RS",
    "move": lambda door: door.box.move(door.key, "Sub") is None,
    "discard": lambda door: door.box.discard(door.key),
    "clean": lambda door: door.box.clean().failed == [],
    "no quota": lambda door: door.box.check_quota(10**9) is None,
    "a quota with room": lambda door: door.limited(b"100000S\n") is None,
    "a quota that is counted": lambda door: door.exceeded() is None,
    "fsck": lambda door: door.checked() == [],
}


@pytest.mark.parametrize("door", DOORS)
def test_each_door_of_a_maildir(door: str) -> None:
    there = Door()
    assert DOORS[door](there)
    assert there.host.open_descriptors == []


def test_the_size_of_a_message_whose_name_does_not_say_it() -> None:
    there = Door()
    new = there.host.open_dir("/m/new")
    there.host.rename(there.key, "1796031294.M1P1.old", src_dir_fd=new, dst_dir_fd=new)
    there.host.close(new)
    assert there.box.size() == 2 * len(MAIL)


def type_of(path: Path) -> str:
    fs = OsFileSystem()
    fd = fs.open_dir(str(path))
    try:
        return fs.mount(fd).fstype
    finally:
        fs.close(fd)


@pytest.fixture
def unheld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of a real mount of which the table says what it says of Coda."""
    monkeypatch.setitem(vars(quirks(type_of(tmp_path))), "open_directories_stay_stale", True)
    return tmp_path


def test_each_door_of_the_drop_in(unheld: Path) -> None:
    box = mailbox.Maildir(unheld / "m")
    key = box.add(MAIL)
    assert list(box.keys()) == [key]
    assert box.get_bytes(key) == MAIL
    assert box.get_file(key).read() == MAIL
    assert box.get_message(key)["Subject"] == "hello"
    assert key in box
    assert len(box) == 1
    box.add_flag(key, "S")
    assert box.get_flags(key) == "S"
    box[key] = MAIL + b"more\n"
    assert box[key].get_payload() == "world\nmore\n"
    box.set_info(key, "2,F")
    assert box.get_info(key) == "2,F"
    box.clean()
    box.remove(key)
    box.discard(key)
    assert list(box.iterkeys()) == []


def test_each_door_of_the_drop_ins_folders(unheld: Path) -> None:
    box = mailbox.Maildir(unheld / "m")
    box.add_folder("Sub").add(MAIL)
    assert box.list_folders() == ["Sub"]
    assert len(box.get_folder("Sub")) == 1
    box.get_folder("Sub").clear()
    box.remove_folder("Sub")
    assert box.list_folders() == []


def test_each_door_of_a_queue_and_a_worker_into_a_maildir() -> None:
    host = SimHost(SimServer("coda"))
    box = Maildir("/m", fs=host)
    queue = Queue("/spool", shared=False, heartbeat=False, fs=host)
    item: tuple[bytes, str, list[str]] = (MAIL, "s@example.org", ["r@example.org"])
    first = queue.put(*item, delivery_id="x")
    assert queue.put(*item, delivery_id="x") == first
    asyncio.run(queue.put_async(*item))
    queue.put_many([item] * 3)
    queue.hold(first)
    queue.unhold(first)
    queue.retry(first)
    assert queue.stats()["pending"] == 5
    claim, *others = queue.claim(5)
    claim.ack_into(box)
    for other in others:
        other.release()
    worker = Worker(queue, MaildirCourier(lambda _: ["/m"], lambda _: box, host))
    for claim in queue.claim(5):
        worker.handle(claim)
    assert worker.delivered == len(others)
    assert len(list(box.messages())) == 5
    assert not list(SpoolCheck("/spool", fs=host).run())
    queue.close()
    assert host.open_descriptors == []


# The commands and the server, on a real mount of which the table says what it says of Coda.

_COMMAND = (
    "import sys; from maildir_safe._fs.quirks import quirks; "
    "vars(quirks(sys.argv.pop(1)))['open_directories_stay_stale'] = True; "
    "from maildir_safe._cli import main; sys.exit(main(sys.argv[1:]))"
)


def command(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, type_of(place), *words], input=MAIL, capture_output=True, timeout=60
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.decode()


def test_each_command(tmp_path: Path) -> None:
    box, spool = str(tmp_path / "m"), str(tmp_path / "spool")
    command(tmp_path, "deliver", box)
    command(tmp_path, "deliver", "-m", "Sub", box)
    command(tmp_path, "create", "--folder", "Other", box)
    assert "hello" in command(tmp_path, "ls", box)
    command(tmp_path, "show", box, next((tmp_path / "m" / "new").iterdir()).name)
    command(tmp_path, "clean", box)
    command(tmp_path, "fsck", box)
    command(tmp_path, "queue", "put", spool, "-f", "s@example.org", "r@example.org")
    command(tmp_path, "work", spool, "--to", f"maildir:{box}", "--alone", "--once")
    command(tmp_path, "fsck", spool)
    assert [MAIL in message for message in stored(tmp_path / "m")] == [True, True]


def test_a_server_with_a_map(unheld: Path) -> None:
    Maildir(unheld / "bob")
    place = str(unheld / "{local}")
    with serving(unheld, maildir=None, map=place) as server, smtplib.SMTP(server.host, server.port) as client:
        assert client.sendmail("a@example.org", ["bob@example.org"], MAIL) == {}
    assert len(stored(unheld / "bob")) == 1
