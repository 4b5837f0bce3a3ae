"""fsck: damage is what was read whole and is wrong; everything else "could not be looked at"."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from maildir_safe import Maildir, Queue
from maildir_safe._check.fsck import SpoolCheck
from maildir_safe._check.fsck_maildir import MaildirCheck
from maildir_safe._cli import main
from maildir_safe._fs.posix import OsFileSystem


class Sick(OsFileSystem):
    """A mount on which one call fails or stops short, a number of times.

    Args:
        call: which: "read", "open", "listdir", or "short" for reads that end early.
        times: how often.
    """

    def __init__(self, call: str, times: int) -> None:
        self.call = call
        self.times = times

    def _fails(self, call: str) -> bool:
        if self.call == call and self.times:
            self.times -= 1
            return True
        return False

    def read(self, fd: int, size: int) -> bytes:  # type: ignore[override]
        if self._fails("read"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.read(fd, size)

    def reader(self, fd: int):  # type: ignore[no-untyped-def]
        if self._fails("read"):
            os.close(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._fails("short"):
            os.lseek(fd, -5, os.SEEK_END)  # what comes is the end, without the beginning
        return super().reader(fd)

    def open(self, name: str, dir_fd: int | None = None) -> int:
        if self._fails("open"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return super().open(name, dir_fd)

    def listdir(self, dir_fd: int) -> list[str]:
        if self._fails("listdir"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().listdir(dir_fd)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    with Queue(tmp_path / "spool") as queue:
        queue.put(b"Subject: a\n\nbody\n", "me@x.org", ["you@x.org"])
    return tmp_path / "spool"


@pytest.mark.parametrize("call", ["read", "open", "short"])
@pytest.mark.parametrize("times", [1, 2, 1000])
def test_a_storage_error_moves_no_item(spool: Path, call: str, times: int) -> None:
    """42 healthy items went to corrupt/ in 40 s on a mount where 2 % of the calls failed."""
    findings = list(SpoolCheck(str(spool), fix=True, fs=Sick(call, times)).run())
    assert [finding for finding in findings if finding.looked] == []
    assert list((spool / "corrupt").rglob("*.*")) == []
    with Queue(spool) as queue:
        assert queue.stats()["pending"] == 1


def test_damage_that_was_read_whole_goes_to_corrupt(spool: Path) -> None:
    (item,) = (path for path in (spool / "pending").rglob("*") if path.is_file())
    item.write_bytes(item.read_bytes()[:-3])
    (finding,) = SpoolCheck(str(spool), fix=True).run()
    assert finding.mended
    assert "its name says" in finding.what
    assert len([path for path in (spool / "corrupt").rglob("*") if path.is_file()]) == 1
    with Queue(spool) as queue:
        (entry,) = queue.items("corrupt")
        assert "its name says" in queue.why(entry.item.id)[0]["text"]


def test_a_directory_that_cannot_be_listed_does_not_hide_the_others(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    for folder in ("broken", "good"):
        maildir.folder(folder)
    (tmp_path / "m/.broken/cur").rmdir()
    (tmp_path / "m/.good/new/stray").mkdir()
    findings = list(MaildirCheck(str(tmp_path / "m")).run())
    assert [(finding.looked, Path(finding.path).name) for finding in findings] == [
        (False, "m: folder broken"),
        (True, "stray"),
    ]


def test_the_exit_code_tells_wrong_from_could_not_look(
    spool: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maildir_safe._cli.fsck.OsFileSystem", lambda: Sick("read", 1000))
    assert main(["fsck", "--json", str(spool)]) == 75
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["looked"] is False
    assert main(["fsck", str(spool)]) == 75
    assert "run fsck again" in capsys.readouterr().err
    (spool / "stray").touch()
    assert main(["fsck", str(spool)]) == 1


class ReadOnly(OsFileSystem):
    """A mount that takes no file."""

    def create(self, name: str, dir_fd: int) -> int:  # noqa: ARG002
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_read_only_mount_can_be_looked_at(tmp_path: Path) -> None:
    Maildir(tmp_path / "m").deliver(b"Subject: x\n\n")
    left = tmp_path / "m/tmp/1763000000.M1P2Q3R4.host"
    left.touch()
    os.utime(left, (1e9, 1e9))
    (finding,) = MaildirCheck(str(tmp_path / "m"), fs=ReadOnly()).run()
    assert finding.looked
    assert "interrupted delivery" in finding.what
    (finding,) = MaildirCheck(str(tmp_path / "m"), fix=True, fs=ReadOnly()).run()
    assert not finding.looked
    assert left.exists()


def test_a_read_only_spool_can_be_looked_at(spool: Path) -> None:
    left = spool / "tmp/1763000000.M1R2.host"
    left.touch()
    os.utime(left, (1e9, 1e9))
    (finding,) = SpoolCheck(str(spool), fs=ReadOnly()).run()
    assert "interrupted put" in finding.what


@pytest.mark.parametrize("name", ["1763000000.M1P2Q3.host,S=40:2,SZ", "1763000000.M1P2Q3.host:2,S"])
def test_a_compressed_message_is_called_so(tmp_path: Path, name: str) -> None:
    Maildir(tmp_path / "m")
    (tmp_path / "m/cur" / name).write_bytes(gzip.compress(b"Subject: x\n\nbody\n"))
    (finding,) = MaildirCheck(str(tmp_path / "m")).run()
    assert "is compressed (gzip)" in finding.what
    (tmp_path / "m/cur" / name).write_bytes(b"Subject: x\n\nbody\n")
    assert [finding.what for finding in MaildirCheck(str(tmp_path / "m")).run()] == (
        ["has 17 bytes, and its name says 40"] if ",S=" in name else []
    )


def test_an_item_of_any_size_is_read_in_pieces(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file costs its owner nothing."""
    [item] = (path for path in (spool / "pending").rglob("*") if path.is_file())
    os.truncate(item, 64 << 20)
    tracemalloc.start()
    findings = [finding.what for finding in SpoolCheck(str(spool)).run()]
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.FileIO(os.devnull, "wb")))
    assert main(["queue", "show", str(spool), item.name.partition(",")[0]]) == 0
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert any("its name says" in what for what in findings)
    assert most < 16 << 20
