"""What a probe stores in a mount's root: found, believed only where it may be, and never in mail's way."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from maildir_safe._cli import main
from maildir_safe._fs import Mount
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._fs.stored_options import STORED, options_path, stored_options
from maildir_safe._maildir.maildir import Maildir
from maildir_safe._probe.probe import probe
from maildir_safe._probe.report import Check
from maildir_safe._probe.storing import store
from maildir_safe._queue.queue import Queue
from maildir_safe.errors import TemporaryError

OURS = {"separator": ";", "staging": "new", "shared": False, "hidden_for": 20.5}


class OneMount(OsFileSystem):
    """A directory, as if it were the root of a mount; counts what is opened."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened: list[str] = []

    def mount(self, fd: int) -> Mount:  # noqa: ARG002
        return Mount("fuse.sshfs", "server:/mail", "rw", str(self.root).replace(" ", "\\040"))

    def open(self, name: str, dir_fd: int | None = None) -> int:
        self.opened.append(name)
        return super().open(name, dir_fd)


@pytest.fixture
def fs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OneMount:
    root = tmp_path / "a mount"
    root.mkdir()
    one = OneMount(root)
    monkeypatch.setattr("maildir_safe._probe.storing.OsFileSystem", lambda: one)
    return one


def write(fs: OneMount, text: str | bytes | dict[str, Any], mode: int = 0o644) -> Path:
    path = fs.root / STORED
    if isinstance(text, dict):
        text = json.dumps(text)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def read(fs: OneMount) -> dict[str, Any]:
    return stored_options(fs, str(fs.root), fs.mount(-1))[0]


def test_a_maildir_takes_what_is_stored_unless_it_is_told_otherwise(fs: OneMount) -> None:
    write(fs, {"separator": ";", "staging": "new"})
    maildir = Maildir(fs.root / "box", fs=fs)
    assert maildir.deliver(b"x\n", flags="S").path.endswith(";2,S")
    assert not maildir._pipeline._in_tmp
    told = Maildir(fs.root / "box", separator=":", staging="tmp", fs=fs)
    assert told.deliver(b"x\n", flags="S").path.endswith(":2,S")
    assert told._pipeline._in_tmp
    assert maildir.folder("sub").deliver(b"x\n", flags="S").path.endswith(";2,S")


def test_without_a_file_a_maildir_costs_an_open_a_directory_and_a_message_none(fs: OneMount) -> None:
    maildir = Maildir(fs.root / "box", fs=fs)
    for _ in range(5):
        maildir.deliver(b"x\n")
    assert fs.opened == [options_path(str(fs.root / "box")), options_path(str(fs.root))]
    assert maildir.deliver(b"x\n", flags="S").path.endswith(":2,S")


def test_the_nearest_file_above_a_maildir_counts(fs: OneMount) -> None:
    write(fs, {"separator": ";"})
    (fs.root / "deep/er").mkdir(parents=True)
    (fs.root / "deep" / STORED).write_text('{"staging": "new"}')
    maildir = Maildir(fs.root / "deep/er/box", fs=fs)
    assert maildir.deliver(b"x\n", flags="S").path.endswith(":2,S")
    assert not maildir._pipeline._in_tmp
    assert Maildir(fs.root / "box", fs=fs).deliver(b"x\n", flags="S").path.endswith(";2,S")


def test_a_probe_may_store_below_the_root_of_a_mount(fs: OneMount) -> None:
    """Nobody may write to the root of a Coda mount."""
    below = fs.root / "ann"
    below.mkdir()
    report = probe(str(below))
    report.use = {"staging": "new"}
    store(report)
    assert report.saved == str(below / STORED)
    assert not Maildir(below / "box", fs=fs)._pipeline._in_tmp
    assert os.listdir(fs.root) == ["ann"]


def test_a_strangers_file_hides_none_above_it(fs: OneMount, monkeypatch: pytest.MonkeyPatch) -> None:
    write(fs, {"separator": ";"})
    (fs.root / "shared").mkdir(mode=0o777)
    (fs.root / "shared" / STORED).write_text('{"separator": ":"}')
    really = fs.fstat

    def owned(fd: int) -> os.stat_result:
        about = really(fd)
        mine = os.readlink(f"/proc/self/fd/{fd}").endswith(f"shared/{STORED}")
        return os.stat_result((*about[:4], 4711, *about[5:])) if mine else about

    monkeypatch.setattr(fs, "fstat", owned, raising=False)
    assert Maildir(fs.root / "shared/box", fs=fs).deliver(b"x\n", flags="S").path.endswith(";2,S")


def test_a_dangling_link_in_its_place_says_nothing(fs: OneMount, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever name is looked up in the root of Coda is a link to the realm of that name."""
    (fs.root / STORED).symlink_to("#@.maildir-safe.json.")
    assert read(fs) == {}
    assert caplog.text == ""


def test_a_file_in_a_maildir_that_is_a_mount_is_no_message_and_no_folder(fs: OneMount) -> None:
    write(fs, OURS)
    maildir = Maildir(fs.root, fs=fs)
    maildir.deliver(b"x\n")
    assert len(list(maildir.messages())) == 1
    assert maildir.folders() == []


def test_a_queue_needs_the_lease_that_was_measured(fs: OneMount) -> None:
    write(fs, {"hidden_for": 1})
    with Queue(fs.root / "spool", lease=3, fs=fs):  # 60 by what is known of sshfs
        pass
    with pytest.raises(ValueError, match=r"3 seconds at least, not 2 \(.*maildir-safe\.json\)"):
        Queue(fs.root / "spool", lease=2, fs=fs)
    write(fs, {"hidden_for": 150.2})
    with Queue(fs.root / "spool", fs=fs) as queue:
        assert queue._opened.lease_seconds == 451
    (fs.root / STORED).unlink()
    with Queue(fs.root / "spool", fs=fs) as queue:
        assert queue._opened.lease_seconds == 60
    with pytest.raises(ValueError, match="60 seconds at least"):
        Queue(fs.root / "spool", lease=59, fs=fs)


def test_a_queue_that_hosts_must_not_share_names_the_file(fs: OneMount) -> None:
    path = write(fs, {"shared": False})
    with pytest.raises(TemporaryError, match="two hosts can win") as refusal:
        Queue(fs.root / "spool", fs=fs)
    assert str(path) in str(refusal.value)
    assert os.listdir(fs.root) == [STORED]  # a refused queue leaves nothing behind
    with Queue(fs.root / "spool", shared=False, fs=fs) as queue:
        queue.put(b"x\n", "a@example.org", ["b@example.org"])
        queue.claim()[0].ack()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 4000, b" " * 5000 + b"{}", b'{"hidden_for": NaN}',
        {"separator": "/"}, {"separator": [":"]}, {"staging": "../new"}, {"shared": True}, {"shared": 0},
        {"hidden_for": -1}, {"hidden_for": 1e9}, {"hidden_for": "20"}, {"hidden_for": True},
        {"separator": ";", "staging": None},
    ],
    ids=lambda text: str(text)[:30],
)  # fmt: skip
def test_a_broken_file_is_ignored_whole_and_logged(
    text: bytes | dict[str, Any], fs: OneMount, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(fs, text)
    with caplog.at_level(logging.WARNING, "maildir_safe._fs.stored_options"):
        assert read(fs) == {}
    assert f"{path} is ignored" in caplog.text
    Maildir(fs.root / "box", fs=fs).deliver(b"x\n")


def test_what_a_later_version_stores_is_passed_over(fs: OneMount) -> None:
    write(fs, {**OURS, "colour": "red"})
    assert read(fs) == OURS


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_not_believed(
    mode: int, fs: OneMount, caplog: pytest.LogCaptureFixture
) -> None:
    write(fs, OURS, mode)
    assert read(fs) == {}
    assert "others may write it" in caplog.text


def test_where_all_files_are_everybodys_it_is_believed(fs: OneMount) -> None:
    fs.root.chmod(0o777)  # as exFAT shows them
    write(fs, OURS, 0o777)
    assert read(fs) == OURS


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_a_file_of_another_user_is_not_believed(fs: OneMount, caplog: pytest.LogCaptureFixture) -> None:
    path = write(fs, OURS)
    os.chown(path, 12345, -1)
    assert read(fs) == {}
    assert "it belongs to uid 12345" in caplog.text
    os.chown(fs.root, 12345, -1)  # whose mount it is may do with it what it likes
    assert read(fs) == OURS


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_what_is_no_file_neither_hangs_nor_counts(kind: str, fs: OneMount, tmp_path: Path) -> None:
    path = fs.root / STORED
    if kind == "symlink":
        (tmp_path / "elsewhere").write_text(json.dumps(OURS))
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert read(fs) == {}


def test_a_delivery_with_a_broken_file_is_silent(
    tmp_path: Path, fs: OneMount, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """getmail takes a word on standard error for a failure, and delivers again."""
    write(fs, "{")
    logger = logging.getLogger("maildir_safe._fs.stored_options")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [])
    Maildir(tmp_path / "box", fs=fs).deliver(b"x\n")
    assert logger.handlers
    assert capfd.readouterr() == ("", "")


def test_a_probe_stores_what_it_found_and_replaces_what_was_there(fs: OneMount) -> None:
    report = probe(str(fs.root))
    report.use = {"separator": ";", "shared": False}
    report.checks.append(Check("visibility", "ok", "", value=2.5))
    report.checks.append(Check("negative-cache", "ok", "", value=7.5))
    store(report)
    assert report.saved == str(fs.root / STORED)
    assert read(fs) == {"separator": ";", "shared": False, "hidden_for": 7.5}
    assert (fs.root / STORED).stat().st_mode & 0o777 == 0o644
    assert os.listdir(fs.root) == [STORED]

    alone = probe(str(fs.root))  # knows nothing of a second mount, and nothing better
    store(alone)
    assert read(fs) == {"shared": False, "hidden_for": 7.5}
    two = probe(str(fs.root))
    two.checks.append(Check("visibility", "ok", "", value=0.1))
    store(two)
    assert read(fs) == {"hidden_for": 0.1}


def test_what_cannot_be_stored_leaves_what_was_there(fs: OneMount, monkeypatch: pytest.MonkeyPatch) -> None:
    write(fs, OURS)
    report = probe(str(fs.root))

    def full(fd: int, data: bytes) -> int:  # noqa: ARG001
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fs, "write", full)
    with pytest.raises(OSError, match="No space"):
        store(report)
    assert read(fs) == OURS
    assert os.listdir(fs.root) == [STORED]
    assert report.saved is None


def test_a_lost_reply_of_the_rename_is_looked_into(fs: OneMount, monkeypatch: pytest.MonkeyPatch) -> None:
    report = probe(str(fs.root))
    report.use = {"separator": ";"}

    def lost(src: str, dst: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(fs, "rename", lost)
    store(report)
    assert read(fs) == {"separator": ";"}


def test_the_command_stores_and_says_where(fs: OneMount, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--save", "--json", str(fs.root)]) == 0
    assert json.loads(capsys.readouterr().out)["saved"] == str(fs.root / STORED)
    assert main(["probe", "--save", str(fs.root)]) == 0
    assert f"stored in {fs.root / STORED}" in capsys.readouterr().out


def test_the_command_that_cannot_store_still_tells_what_it_found(
    fs: OneMount, capsys: pytest.CaptureFixture[str]
) -> None:
    (fs.root / STORED).mkdir()
    assert main(["probe", "--save", str(fs.root)]) == 75
    out, err = capsys.readouterr()
    assert "SAFE" in out
    assert "not stored" in err
    assert os.listdir(fs.root) == [STORED]
