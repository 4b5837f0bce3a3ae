"""A Maildir++ quota: heeded by the messages there are, and never a riddle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue, QuotaExceeded, TemporaryError
from maildir_safe._delivery.incoming import IN_MEMORY
from maildir_safe._queue.couriers.maildir import MaildirCourier
from maildir_safe._queue.worker import Worker

MAIL = b"Subject: hello\n\n" + b"x" * 984


@pytest.fixture
def box(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "box")


def quota(box: Maildir, *lines: str) -> None:
    Path(box.path, "maildirsize").write_text("\n".join(lines) + "\n")


def test_a_maildir_that_was_emptied_takes_mail_again(box: Maildir) -> None:
    """Whoever removes messages need not know of maildirsize; mail was deferred for ever, then bounced."""
    quota(box, "2500S,3C", "3000 4")
    before = Path(box.path, "maildirsize").read_bytes()
    for _ in range(2):
        box.check_quota(1000)
        box.deliver(MAIL)
    with pytest.raises(QuotaExceeded, match="3000 of 2500 bytes"):
        box.check_quota(1000)
    box.check_quota(500)
    assert Path(box.path, "maildirsize").read_bytes() == before  # nothing here can write it safely


def test_what_counts(box: Maildir) -> None:
    quota(box, "0S,3C", "9 9")
    box.deliver(MAIL, folder="Trash")
    box.deliver(MAIL, folder="Trash.Old")
    box.deliver(MAIL, flags="ST")
    os.mkdir(f"{box.path}/.half")  # lacks its directories
    for _ in range(3):
        box.check_quota()
        box.deliver(MAIL, folder="Archive")
    with pytest.raises(QuotaExceeded, match="4 of 3 messages") as refused:
        box.check_quota()
    assert refused.value.status == "4.2.2"


def test_the_sum_is_believed_while_it_leaves_room(box: Maildir, monkeypatch: pytest.MonkeyPatch) -> None:
    quota(box, "2500S", "1000 1", "-500 -1", "torn 12", "1 2 3", "9" * 5000 + " 1")
    monkeypatch.setattr(Maildir, "messages", None)
    box.check_quota(2000)


@pytest.mark.parametrize("first", ["9" * 5000 + "S", "xS", "-5S", "\u0665S", "1e9S", "S,10C"])
def test_what_is_no_quota_is_said(first: str, box: Maildir) -> None:
    quota(box, first)
    with pytest.raises(TemporaryError, match=r"maildirsize begins with .* not a quota"):
        box.check_quota()


@pytest.mark.parametrize("first", ["", "10x", "0S", "1000000S , 5C"])
def test_what_limits_nothing(first: str, box: Maildir) -> None:
    quota(box, first)
    box.check_quota(1000)


@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "socket"])
def test_what_is_no_file_is_said_and_not_waited_for(kind: str, box: Maildir) -> None:
    path = Path(box.path, "maildirsize")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, 0o140600)
    with pytest.raises(TemporaryError, match="maildirsize is not a file"):
        box.check_quota(1)


@pytest.mark.parametrize("recipients", [["a@b"], ["a@b", "c@d"]])
def test_the_worker_asks_no_quota(box: Maildir, tmp_path: Path, recipients: list[str]) -> None:
    """The mail was accepted: to refuse it now would bounce it to a sender who was told that it is here."""
    quota(box, "10S,1C", "99 9")
    with Queue(tmp_path / "spool") as queue:
        queue.put(MAIL, "s@example.com", recipients)
        worker = Worker(queue, MaildirCourier(lambda _: [box.path]))
        worker.run_once()
    assert worker.delivered == len(recipients)
    assert len(list(box.messages())) == len(recipients)


def deliver(box: Maildir, data: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "maildir_safe", "deliver", box.path]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def test_all_of_a_streamed_message_counts(box: Maildir) -> None:
    """12 MB went into 8 MB: only what was read at first was counted."""
    quota(box, f"{2 * IN_MEMORY}S")
    refused = deliver(box, MAIL + bytes(2 * IN_MEMORY))
    assert (refused.returncode, refused.stderr[:6]) == (75, b"4.2.2 ")
    assert os.listdir(f"{box.path}/new") == os.listdir(f"{box.path}/tmp") == []
    assert deliver(box, MAIL + bytes(IN_MEMORY)).returncode == 0
    (name,) = os.listdir(f"{box.path}/new")
    assert os.stat(f"{box.path}/new/{name}").st_size == len(MAIL) + IN_MEMORY
