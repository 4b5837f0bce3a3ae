"""What an independent FUSE, below all repetitions, showed once: each sequence again, on a real mount."""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultfuse import FaultFuse, lacks

from maildir_safe import Maildir, Queue
from maildir_safe.errors import MaildirSafeError, TemporaryError
from maildir_safe.mailbox import Maildir as DropIn
from tests.smtp_support import Serve, stored

pytestmark = [pytest.mark.mounts, pytest.mark.skipif(bool(lacks()), reason=lacks() or "-")]

LONG = b"Subject: long\n\n" + b"".join(b"%07d\n" % number for number in range(20_000))
SHORT = b"Subject: short\n\nbody\n"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FaultFuse]:
    with FaultFuse(tmp_path / "backing", tmp_path / "mount") as made:
        yield made


def there(mount: FaultFuse, box: str = "box") -> list[bytes]:
    """Every visible message as it really is; a directory under a message's name is none."""
    paths = [*mount.backing.glob(f"{box}/new/*"), *mount.backing.glob(f"{box}/cur/*")]
    return [path.read_bytes() for path in sorted(paths) if path.is_file()]


def cli(*words: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "maildir_safe", *map(str, words)]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=120)


def test_the_mount_itself_passes_everything_on(mount: FaultFuse) -> None:
    receipt = Maildir(mount.path / "box").deliver(LONG)
    assert there(mount) == [LONG]
    assert receipt.renames == 1
    assert mount.counts() == {}


@pytest.mark.parametrize("error", ["ESTALE", "EINTR"])
@pytest.mark.parametrize("door", ["deliver", "api", "drop-in"])
def test_a_late_create_and_a_late_rename_do_not_empty_what_is_published(
    mount: FaultFuse, door: str, error: str
) -> None:
    Maildir(mount.path / "box")
    mount.once("create", error, "late", 1.5, "/box/tmp/")
    mount.once("rename", "EIO", "late", 2.5, "/box/new/")
    if door == "deliver":
        assert cli("deliver", mount.path / "box", data=SHORT).returncode == 0
    elif door == "api":
        Maildir(mount.path / "box").deliver(SHORT)
    else:
        DropIn(mount.path / "box").add(SHORT)
    mount.wait()
    assert sum(mount.counts().values()) == 2
    assert there(mount) == [SHORT]


@pytest.mark.parametrize("door", ["deliver", "api", "many", "drop-in", "queue"])
def test_an_fsync_that_is_interrupted_has_failed(mount: FaultFuse, door: str) -> None:
    """The mount has thrown the data away, as a kernel does; an fsync that is made again says nothing."""
    box = Maildir(mount.path / "box")
    queue = Queue(mount.path / "spool")
    mount.once("fsync", "EINTR", "none", 0, "/tmp/")
    try:
        if door == "deliver":
            assert cli("deliver", mount.path / "box", data=SHORT).returncode in (0, 75)
        elif door == "api":
            box.deliver(SHORT)
        elif door == "many":
            box.deliver_many([SHORT, SHORT])
        elif door == "drop-in":
            DropIn(mount.path / "box").add(SHORT)
        else:
            queue.put(SHORT, "s@example.org", ["r@example.org"])
            for claim in queue.claim():
                claim.ack_into(box)
    except TemporaryError:
        pass
    assert mount.counts() == {"fsync/EINTR/none": 1}
    assert all(data.endswith(SHORT) for data in there(mount)), "an empty message was published"
    queue.close()


def test_an_fsync_of_the_directory_that_is_interrupted_is_no_acknowledgement(mount: FaultFuse) -> None:
    box = Maildir(mount.path / "box")
    mount.once("fsyncdir", "EINTR", "none", 0, "/box/new")
    with pytest.raises(TemporaryError):
        box.deliver(SHORT)
    assert mount.counts() == {"fsyncdir/EINTR/none": 1}


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_read_that_says_EAGAIN_ends_no_message(mount: FaultFuse, nth: int) -> None:
    """By the API, by the drop-in and by a relay; who cannot read it now can later."""
    box, drop_in = Maildir(mount.path / "box"), DropIn(mount.path / "box")
    key = box.deliver(LONG).key
    for read in (lambda: box.open(key).read(), lambda: drop_in.get_bytes(key)):
        for _ in range(nth):
            mount.once("read", "EAGAIN" if nth < 3 else "0", "none" if nth < 3 else "odd", 0, "/box/new/")
        for _ in range(5):
            try:
                data = read()
            except (TemporaryError, OSError):
                continue
            assert data == LONG
            break
        else:
            pytest.fail("it is never read")


def test_a_relay_sends_all_of_a_message_or_nothing(mount: FaultFuse, tmp_path: Path) -> None:
    sink = tmp_path / "sink"
    sink.mkdir()
    server = Serve(sink)
    try:
        with Queue(mount.path / "spool") as queue:
            queue.put(LONG, "s@example.org", ["r@example.org"])

        def work() -> None:
            with Queue(mount.path / "spool") as queue:
                for listed in queue.items("pending"):
                    queue.retry(listed.item.id)
                assert not list(queue.items("corrupt"))
            cli("work", mount.path / "spool", "--to", f"smtp://{server.address}", "--once")
            for data in stored(sink / "Maildir"):
                assert data.endswith(LONG)

        for part in range(1, 4):
            for _ in range(part):
                mount.once("read", "0", "odd", 0, "/claimed/")
            mount.once("read", "EAGAIN", "none", 0, "/claimed/")
            work()
        mount.only("flush")
        for _ in range(5):  # faults that no read has met may be left
            work()
        assert [data.endswith(LONG) for data in stored(sink / "Maildir")] == [True]
    finally:
        server.end()


@pytest.mark.parametrize(
    ("operation", "error"),
    [("read", "EIO"), ("read", "EAGAIN"), ("read", "ESTALE"), ("open", "EIO"), ("open", "ESTALE")],
)
def test_fsck_moves_nothing_that_it_could_not_read(mount: FaultFuse, operation: str, error: str) -> None:
    with Queue(mount.path / "spool") as queue:
        for _ in range(5):
            queue.put(SHORT, "s@example.org", ["r@example.org"])
    for _ in range(4):
        mount.once(operation, error, "none", 0, "/pending/now")
    done = cli("fsck", "--fix", mount.path / "spool")
    assert mount.counts(), done
    assert not list(mount.backing.glob("spool/corrupt/*/*"))
    assert len(list(mount.backing.glob("spool/pending/*/*"))) == 5


@pytest.mark.parametrize("operation", ["lookup", "open"])
def test_one_ENOENT_is_no_550(mount: FaultFuse, tmp_path: Path, operation: str) -> None:
    (mount.path / "users").mkdir()
    for user in ("alice", "bob"):
        Maildir(mount.path / "users" / user)
    for path in (mount.backing / "users").iterdir():
        os.utime(path, (time.time() - 86400,) * 2)
    os.utime(mount.backing / "users", (time.time() - 86400,) * 2)
    server = Serve(tmp_path, "--map", f"{mount.path}/users/{{local}}")
    try:
        mount.once(operation, "ENOENT", "none", 0, "/users/bob")
        with server.client() as client:
            client.ehlo()
            client.mail("s@example.org")
            assert client.rcpt("bob@example.org")[0] // 100 in (2, 4)
            assert client.rcpt("mallory@example.org")[0] == 550
        assert mount.counts()
        with server.client() as client:
            client.sendmail("s@example.org", ["bob@example.org"], SHORT)
    finally:
        server.end()


def test_a_file_that_another_removes_from_tmp_is_not_delivered(mount: FaultFuse) -> None:
    """The rename says ENOENT, and the file is nowhere: that is no lost reply."""
    box = Maildir(mount.path / "box")
    for _ in range(3):  # so that there is time for it
        mount.once("rename", "EIO", "none", 0, "/box/new/")
    seen: list[int] = []
    done = threading.Event()

    def janitor() -> None:
        while not done.is_set():
            for path in (mount.backing / "box" / "tmp").iterdir():
                if mount.counts():
                    path.unlink(missing_ok=True)
                    seen.append(1)
                    return
            time.sleep(0.0005)

    thread = threading.Thread(target=janitor)
    thread.start()
    try:
        box.deliver(SHORT)
        delivered = True
    except MaildirSafeError:
        delivered = False
    done.set()
    thread.join()
    assert seen
    assert delivered == (there(mount) == [SHORT])


def test_the_server_says_nothing_permanent_whatever_fails(mount: FaultFuse, tmp_path: Path) -> None:
    (mount.path / "users").mkdir()
    Maildir(mount.path / "users" / "bob")
    server = Serve(tmp_path, "--map", f"{mount.path}/users/{{local}}")
    codes: set[int] = set()
    try:
        mount.level(0.3)
        for _ in range(60):
            try:
                with server.client() as client:
                    client.sendmail("s@example.org", ["bob@example.org"], SHORT)
                    codes.add(250)
            except smtplib.SMTPResponseException as error:
                codes.add(error.smtp_code)
            except smtplib.SMTPRecipientsRefused as error:
                codes |= {code for code, _ in error.recipients.values()}
            except OSError:
                pass
        mount.level(0)
    finally:
        server.end()
    assert not [code for code in codes if code >= 500], codes


def test_a_name_that_was_sealed_and_is_renamed_late_is_neither_message_nor_item(mount: FaultFuse) -> None:
    """Root may rename a read-only directory: late, and after a reader or a worker has moved the file on."""
    box, queue = Maildir(mount.path / "box"), Queue(mount.path / "spool")
    mount.once("rename", "EIO", "late", 1.5, "/box/new/")
    key = box.deliver(SHORT).key
    box.set_flags(key, "S")
    mount.once("rename", "EIO", "late", 1.5, "/pending/")
    queue.put(SHORT, "s@example.org", ["r@example.org"])
    for claim in queue.claim():
        claim.ack_into(box)
    mount.wait()
    assert sum(mount.counts().values()) == 2
    assert len(there(mount)) == 2
    assert len(list(box.messages())) == 2, "a directory is listed as a message"
    assert queue.claim() == [], "a directory is claimed"
    assert not list(queue.items("corrupt"))
    queue.close()
