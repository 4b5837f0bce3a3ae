"""Somebody who may write into the spool makes things up: bounded, put aside, and everybody goes on."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._cli import main
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._queue.store import item_name, process_identity
from maildir_safe._queue.store.hashed_directory import _part
from maildir_safe.errors import MaildirSafeError

MESSAGE = b"Subject: hello\n\nbody\n"
HUGE = "9" * 30


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def one_bucket(spool: Path) -> tuple[Queue, Path, str]:
    queue = Queue(spool, heartbeat=False)
    ident = queue.put(MESSAGE, "s@x.org", ["a@x.org"])
    [listed] = queue.items()
    return queue, Path(spool, listed.path), ident


@pytest.mark.parametrize(
    "name",
    [
        "1.M1R1.h,S=1,g1000000000000,t0,n0,o", f"1.M1R1.h,S=1,g{HUGE},t0,n0,o",
        f"1.M1R1.h,S={HUGE},g0,t0,n0,o",
        f"1.M1R1.h,S=1,g0,t{HUGE},n0,o", f"1.M1R1.h,S=1,g0,t0,n{HUGE},o", f"{HUGE}.M1R1.h,S=1,g0,t0,n0,o",
        "1.M1R1.h,S=1,g0,t0,n0," + "o" * 90, "1." + "x" * 200 + ",S=1,g0,t0,n0,o", "1.h,S=1,g00,t0,n0,o",
        "1.v\n2026 CRITICAL \x1b[31m,S=1,g0,t0,n0,o",
        "1.\u202e,S=1,g0,t0,n0,o",
    ],
)  # fmt: skip
def test_a_name_that_no_item_can_have_is_put_aside(spool: Path, name: str) -> None:
    """It caught a worker that counted to 10^12."""
    queue, good, _ = one_bucket(spool)
    good.with_name(name).write_bytes(b"x")
    assert item_name.parse(name) is None
    queue.put(MESSAGE, "s@x.org", ["b@x.org"])
    other = Queue(spool, heartbeat=False)
    taken = [claim.read() for _ in range(3) for claim in other.claim(9)]
    assert taken == [MESSAGE, MESSAGE]
    assert name not in os.listdir(good.parent)
    assert any(files for _, _, files in os.walk(spool / "corrupt"))
    assert main(["queue", "ls", str(spool)]) == 0
    assert main(["queue", "stats", str(spool)]) == 0
    queue.close()
    other.close()


def test_an_item_linked_into_the_directory_of_a_worker_that_does_not_exist_is_sent(tmp_path: Path) -> None:
    """No worker gives way to it, since nobody would ever sweep that directory."""
    spool = tmp_path / "spool"
    queue = Queue(spool, heartbeat=False)
    queue.put(b"Subject: a\n\n", "a@example.org", ["b@example.org"])
    [pending] = spool.glob("pending/*/*")
    for name in ("!", "~", "0-0-300"):  # before and after each real worker's name
        (spool / "claimed" / name).mkdir()
        os.link(pending, spool / "claimed" / name / pending.name)
    (spool / "claimed/a-link").symlink_to("/etc")
    os.mkfifo(spool / "claimed/a-fifo")
    [claim] = queue.claim(1)
    assert claim.read() == b"Subject: a\n\n"
    claim.ack()
    assert not list(spool.glob("pending/*/*"))


def test_an_item_that_a_backup_has_linked_elsewhere_is_sent(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "spool", heartbeat=False)
    queue.put(b"Subject: a\n\n", "a@example.org", ["b@example.org"])
    [pending] = tmp_path.glob("spool/pending/*/*")
    os.link(pending, tmp_path / "backup")
    [claim] = queue.claim(1)
    assert claim.read() == b"Subject: a\n\n"
    claim.ack()
    assert (tmp_path / "backup").stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "socket"])
def test_what_is_no_file_is_not_delivered(spool: Path, tmp_path: Path, kind: str) -> None:
    """A symbolic link or a FIFO under an item's name would otherwise be renamed into a Maildir."""
    queue, good, _ = one_bucket(spool)
    maildir = Maildir(tmp_path / "m")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    fake = good.with_name(f"1.M1R1.h,S={secret.stat().st_size},g0,t0,n0,o")
    if kind == "fifo":
        os.mkfifo(fake)
    elif kind == "directory":
        fake.mkdir()
    elif kind == "link":
        fake.symlink_to(secret)
    else:
        os.mknod(fake, stat.S_IFSOCK | 0o600)
    for _ in range(3):
        for claim in queue.claim(9):
            try:
                claim.ack_into(maildir)
            except MaildirSafeError:
                claim.let_go()
    assert [maildir.open(message.key).read().endswith(MESSAGE) for message in maildir.messages()] == [True]
    assert not os.path.lexists(fake)
    queue.close()


def plant(place: Path, kind: str) -> None:
    if kind == "file":
        place.write_bytes(b"x")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("/etc")


@pytest.mark.parametrize("kind", ["file", "fifo", "link"])
@pytest.mark.parametrize("name", ["now.h-1.0", "1700000000m.h-1.7"])
def test_what_is_no_bucket_is_said_once(
    spool: Path, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue, _, _ = one_bucket(spool)
    plant(spool / "pending" / name, kind)
    for _ in range(3):
        for claim in queue.claim(9):
            claim.ack()
    assert [*queue.items()] == []
    assert caplog.messages == [f"{spool}/pending/{name} is no directory, and is ignored"]
    (spool / "pending" / name).unlink()
    queue.claim(9)
    plant(spool / "pending" / name, kind)
    queue.claim(9)
    assert len(caplog.messages) == 2
    queue.close()


def test_work_once_delivers_all_beside_a_stray(
    spool: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Queue(spool) as queue:
        queue.put(MESSAGE, "s@x.org", ["a@x.org"])
    Maildir(tmp_path / "m")
    strays = [spool / "pending/now.h-1.0", spool / "claimed/h.1.2", spool / "hold/0a", spool / "notes/ff"]
    for stray in strays:
        stray.write_bytes(b"x")
    assert main(["work", "--once", "--to", f"maildir:{tmp_path}/m", str(spool)]) == 0
    assert len(os.listdir(tmp_path / "m/new")) == 1
    assert capfd.readouterr().err.count("is ignored") <= 1
    assert main(["work", "--once", "--to", f"maildir:{tmp_path}/m", str(spool)]) == 0
    assert main(["fsck", str(spool)]) == 1
    said = capfd.readouterr().out
    for stray in strays:
        assert f"{stray}: " in said


def test_a_bucket_that_may_hold_items_is_not_called_a_stray(spool: Path) -> None:
    """On Coda a conflict looks like a dangling link."""
    queue, _, _ = one_bucket(spool)
    (spool / "pending/now.h-1.0").symlink_to("@7f000001.00000001.00000001@cell")
    for claim in queue.claim(9):
        claim.ack()
    with pytest.raises(MaildirSafeError):
        queue.claim(9)
    queue.close()


@pytest.mark.parametrize(
    "note",
    [
        b"[" * 100_000, b'{"at":' * 50_000, b"null", b"[]", b'{"recipients": 7}', b'{"recipients": {"a": 7}}',
        b'{"recipients": {"a": [true, 1]}}', b'{"at": 1e300}', f'{{"at": {HUGE}}}'.encode(), b'{"at": "x"}',
        b'{"at": NaN, "text": 7}', b"\xff\xfe", b"x" * (2 << 20), b'{"at": -1, "recipients": {"a": [250]}}',
        b'{"text": "\\u001b[2J", "recipients": {"a@x.org": [99999, "x"]}}',
    ],
    ids=range(15),
)  # fmt: skip
def test_notes_of_any_shape_are_read_as_notes(
    spool: Path, note: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, _, ident = one_bucket(spool)
    [claim] = queue.claim()
    claim.retry(0.0)
    claim.let_go()
    [listed] = queue.items()
    part = spool / "notes" / _part(ident)
    part.mkdir()
    (part / f"{ident}.0").write_bytes(note)
    (part / f"{ident}.{HUGE}").write_bytes(b"{}")
    for found in queue.why(ident):
        json.dumps(found)
    assert main(["queue", "why", str(spool), ident]) == 0
    assert main(["queue", "why", "--json", str(spool), ident]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert listed.item.gen == 1
    queue.close()


@pytest.mark.parametrize("process", [f"b p {HUGE} 1", f"b p -{HUGE} 1", "b p x 1", "\0" * 4000])
def test_heartbeats_of_any_content_are_looked_at(spool: Path, process: str) -> None:
    """It caught observers that ended at a process id of 30 digits."""
    queue, _, _ = one_bucket(spool)
    place = process_identity._place(OsFileSystem())
    (spool / "alive" / "evil-00-300.0").write_text(process.replace("b p", place))
    (spool / "alive" / f"evil-01-{HUGE}.{HUGE}").touch()
    (spool / "fenced" / "evil-02").mkdir()
    queue.tend()
    assert [claim.read() for claim in queue.claim(9)] == [MESSAGE]
    queue.close()


def test_names_forge_no_line_of_a_log(spool: Path) -> None:
    """A bucket's name had a line end and a terminal's escape in it, and `work` printed both."""
    with Queue(spool) as queue:
        queue.put(MESSAGE, "s@x.org", ["a@x.org"])
    evil = "now.evil\n2026-11-30 CRITICAL forged \x1b[31m.0"
    (spool / "pending" / evil).write_bytes(b"")
    to = "maildir:/no/{local}"
    command = [sys.executable, "-m", "maildir_safe", "work", "--once", "-v", "--to", to, spool]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "\x1b" not in done.stderr
    assert not any(" CRITICAL forged" in line[:40] for line in done.stderr.splitlines())
    assert r"evil\n2026" in done.stderr
