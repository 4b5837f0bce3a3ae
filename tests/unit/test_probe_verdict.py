"""The probe where there is no mount to try: what it says of a file system that misbehaves."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import maildir_safe._probe.probe as probing
from maildir_safe._cli import main
from maildir_safe._fs import Mount
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._probe.probe import probe
from maildir_safe._probe.report import LABELS, Check, ProbeReport
from maildir_safe._probe.two_mounts import RENAME_ROUNDS


class EmptiesDirectories(OsFileSystem):
    """As fusefat does: a directory is empty once it is renamed."""

    def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        super().rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        moved = Path(f"/proc/self/fd/{dst_dir_fd}", dst)
        if moved.is_dir():
            shutil.rmtree(moved)
            moved.mkdir()


def test_a_local_directory_is_safe_and_left_as_it_was(tmp_path: Path) -> None:
    report = probe(str(tmp_path))
    assert report.verdict == "SAFE", report.reasons
    assert report.facts["rename-directory"] == "ok"
    assert os.listdir(tmp_path) == []


def test_directories_that_lose_what_they_hold_are_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "OsFileSystem", EmptiesDirectories)
    report = probe(str(tmp_path))
    assert report.verdict == "UNSAFE"
    assert report.facts["rename-directory"] == "empties it"
    assert any("EMPTY" in reason for reason in report.reasons)
    assert os.listdir(tmp_path) == []


class ListsCutNames(OsFileSystem):
    """As Coda does: a name of 255 bytes is listed, and known from then on, with 254."""

    def listdir(self, dir_fd: int) -> list[str]:
        return [name[:254] for name in super().listdir(dir_fd)]


def test_a_name_that_is_listed_shorter_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "OsFileSystem", ListsCutNames)
    assert probe(str(tmp_path)).facts["name-length"] == 254
    assert os.listdir(tmp_path) == []


def test_two_hosts_with_one_token_race_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: probe(str(tmp_path), token="t1"), range(2))
    for report in (one, two):
        assert report.verdict == "SAFE", report.reasons
        assert report.facts["exclusive-race"] == 0
        race = report.facts["rename-race"]
        assert (race["one"], race["both"], race["none"], race["not once"]) == (RENAME_ROUNDS, 0, 0, 0)
    assert os.listdir(tmp_path) == []


def test_a_host_that_stays_alone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maildir_safe._probe.two_hosts.RESOLVE_TIMEOUT", 0.2)
    report = probe(str(tmp_path), token="alone")
    assert report.verdict == "UNSAFE"
    assert any("other host: could not be tried" in reason for reason in report.reasons)
    assert os.listdir(tmp_path) == []


def test_a_token_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letters and digits"):
        probe(str(tmp_path), token="../x")


def test_a_label_may_be_reworded_and_the_verdict_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label "':' in a name" was the key of the verdict once."""

    class NoColon(OsFileSystem):
        def create(self, name: str, dir_fd: int) -> int:
            if ":" in name:
                raise OSError(errno.EINVAL, "no colon")
            return super().create(name, dir_fd)

    monkeypatch.setattr(probing, "OsFileSystem", NoColon)
    before = probe(str(tmp_path))
    for ident in LABELS:
        monkeypatch.setitem(LABELS, ident, "reworded")
    after = probe(str(tmp_path))
    assert (
        (before.verdict, before.use)
        == (after.verdict, after.use)
        == ("SAFE WITH OPTIONS", {"separator": ";"})
    )
    assert {check.label for check in after.checks} == {"reworded"}


def test_every_check_has_a_label(tmp_path: Path) -> None:
    report: ProbeReport = probe(str(tmp_path), second=str(tmp_path))
    assert [check.id for check in report.checks if check.id not in LABELS] == []


@pytest.mark.parametrize(
    ("failing", "ident"),
    [
        ("check_copies", "copies-untried"),
        ("check_renames", "renames-untried"),
        ("check_exclusive", "exclusive-untried"),
        ("check_fsync", "fsync-untried"),
        ("check_names", "names-untried"),
        ("check_stat", "stat-untried"),
        ("check_space", "space-untried"),
    ],
)
def test_checks_that_cannot_be_tried_have_a_stable_id(
    failing: str, ident: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their id was the words of the progress line, which were free to be reworded."""

    def fail(*_: object) -> list[Check]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(probing, failing, fail)
    report = probe(str(tmp_path))
    untried = [check for check in report.checks if check.evidence.startswith("could not be tried")]
    assert [(check.id, check.result, check.value) for check in untried] == [(ident, "bad", None)]
    assert ident in LABELS
    assert report.verdict == "UNSAFE"


def test_checks_made_before_a_group_fails_stay_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoPlaceToLink(OsFileSystem):
        renamed = 0

        def create(self, name: str, dir_fd: int) -> int:
            if self.renamed == 3:  # the three renames of a file were tried
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            return super().create(name, dir_fd)

        def rename(self, src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            self.renamed += 1
            super().rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(probing, "OsFileSystem", NoPlaceToLink)
    facts = probe(str(tmp_path)).facts
    assert facts["rename-across"] == facts["rename-onto"] == "ok"
    assert facts["renames-untried"] is None
    assert "rename-noreplace" not in facts


class NoRoom(OsFileSystem):
    """A full disk: the second directory cannot be made any more."""

    def mkdir(self, name: str, dir_fd: int | None = None) -> None:
        if name == "b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        super().mkdir(name, dir_fd)


def test_a_full_disk_is_named_and_nothing_is_left_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probing, "OsFileSystem", NoRoom)
    before = len(os.listdir("/proc/self/fd"))
    assert main(["probe", str(tmp_path)]) == 75
    told = capsys.readouterr().err
    assert f"{tmp_path}: a folder cannot be made there: No space left on device" in told
    assert "maildir-safe-probe" not in told
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_second_mount_that_does_not_show_the_folder_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One descriptor leaked at each look, five times a second; on Coda that alone hid the folder."""
    monkeypatch.setattr("maildir_safe._probe.two_mounts._LONGEST_WAIT", 0.5)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    report = probe(str(tmp_path / "one"), second=str(tmp_path / "two"))
    assert report.verdict == "UNSAFE"
    assert len(os.listdir("/proc/self/fd")) == before


class Held(OsFileSystem):
    """As on Coda: while the second client holds a directory open, it sees what was there before."""

    second = ""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}  # descriptors of the second client, and their inodes
        self.seen: dict[int, list[str]] = {}

    def open_dir(self, path: str, dir_fd: int | None = None) -> int:
        fd = super().open_dir(path, dir_fd)
        if path == self.second or dir_fd in self.held:
            inode = os.fstat(fd).st_ino
            if inode not in self.held.values():
                self.seen[inode] = super().listdir(fd)
            self.held[fd] = inode
        return fd

    def close(self, fd: int) -> None:  # type: ignore[override]
        self.held.pop(fd, None)
        os.close(fd)

    def listdir(self, dir_fd: int) -> list[str]:
        return self.seen[self.held[dir_fd]] if dir_fd in self.held else super().listdir(dir_fd)


def test_directories_are_let_go_so_that_a_second_client_sees_what_the_first_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maildir_safe._probe.two_mounts._LONGEST_WAIT", 3.0)
    monkeypatch.setattr("maildir_safe._probe.two_mounts.RENAME_ROUNDS", 3)
    monkeypatch.setattr("maildir_safe._probe.two_mounts.EXCL_ROUNDS", 3)
    monkeypatch.setattr(Held, "second", str(tmp_path / "two"))
    monkeypatch.setattr(probing, "OsFileSystem", Held)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to("one")
    report = probe(str(tmp_path / "one"), second=str(tmp_path / "two"))
    assert report.facts["visibility"] is not None


class OnCoda(OsFileSystem):
    """A directory, as if Coda's client had it."""

    def mount(self, fd: int) -> Mount:  # noqa: ARG002
        return Mount("coda", "Coda", "rw", "/coda")


def test_what_only_the_client_says_is_not_said_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coda's client keeps times of 4 ms and the server whole seconds: 1 ms was said, without a word."""
    monkeypatch.setattr(probing, "OsFileSystem", OnCoda)
    evidence = {check.id: check.evidence for check in probe(str(tmp_path)).checks}
    assert "its server may keep something else" in evidence["mtime-precision"]
    assert "its server may keep something else" in evidence["inode"]
    monkeypatch.setattr(probing, "OsFileSystem", OsFileSystem)
    assert not any("its server" in check.evidence for check in probe(str(tmp_path)).checks)
