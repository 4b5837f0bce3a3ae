"""The janitor removes what was abandoned, by the server's clock and the time of the last write alone."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from maildir_safe import Maildir, NotAMaildir
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

HOUR = 3600


class Lab:
    """A Maildir whose tmp/ holds one draft; the host that cleans it may have faults and a wrong clock."""

    def __init__(
        self, *faults: Fault, name: str = "1763.M1P2Q3R0123456789abcdef.host", **host: float
    ) -> None:
        self.server = SimServer("nfs4")
        self.writer = SimHost(self.server, "writer")
        self.maildir = Maildir("/m", fs=self.writer)
        self.put("tmp", name)
        cleaner = SimHost(self.server, "cleaner", faults=list(faults), **host)  # type: ignore[arg-type]
        self.cleaner = Maildir("/m", create=False, fs=cleaner)

    def put(self, subdir: str, name: str) -> None:
        self.writer.close(self.writer.create(name, self.writer.open_dir(f"/m/{subdir}")))

    def names(self, subdir: str = "tmp") -> list[str]:
        return self.writer.listdir(self.writer.open_dir(f"/m/{subdir}"))


def test_what_is_young_is_left_alone() -> None:
    lab = Lab()
    lab.writer.sleep(35 * HOUR)
    report = lab.cleaner.clean()
    assert (report.removed, report.kept, len(lab.names())) == ([], 1, 1)


def test_what_is_old_goes_and_a_dry_run_only_tells() -> None:
    lab = Lab()
    lab.writer.sleep(37 * HOUR)
    told = lab.cleaner.clean(dry_run=True).removed
    assert (len(told), len(lab.names())) == (1, 1)
    assert lab.cleaner.clean().removed == told
    assert lab.names() == []


def test_age_is_told_by_the_servers_clock() -> None:
    lab = Lab(clock_offset=100 * HOUR)
    lab.writer.sleep(HOUR)
    assert lab.cleaner.clean().removed == []


def test_reading_a_draft_does_not_make_it_young() -> None:
    lab = Lab()
    lab.writer.sleep(37 * HOUR)
    tmp = lab.writer.open_dir("/m/tmp")
    fd = lab.writer.open(lab.names()[0], tmp)
    lab.writer.read(fd, 10)
    assert len(lab.cleaner.clean().removed) == 1


def test_drafts_beside_their_target_go_and_messages_stay() -> None:
    lab = Lab()
    lab.put("new", ".1763.M1P2Q3R0123456789abcdef.host")
    lab.put("new", "1763.M1P2Q4R0123456789abcdef.host")
    lab.put("cur", ".nfs0000000001")
    lab.writer.sleep(37 * HOUR)
    lab.cleaner.clean()
    assert lab.names("new") == ["1763.M1P2Q4R0123456789abcdef.host"]
    assert lab.names("cur") == [".nfs0000000001"]


def test_a_full_disk_is_cleaned() -> None:
    lab = Lab(Fault("write", errno.ENOSPC, times=9))
    lab.writer.sleep(37 * HOUR)
    assert len(lab.cleaner.clean().removed) == 1
    assert lab.names() == []


def test_what_cannot_be_removed_is_named() -> None:
    lab = Lab(Fault("unlink", errno.EACCES, match="1763"))
    lab.writer.sleep(37 * HOUR)
    report = lab.cleaner.clean()
    assert [path for path, _ in report.failed] == ["tmp/1763.M1P2Q3R0123456789abcdef.host"]


def old(path: Path) -> Path:
    before = time.time() - 40 * 3600
    os.utime(path, (before, before))
    return path


def test_a_seal_is_removed_and_no_other_directory(tmp_path: Path) -> None:
    """What `late_calls.seal` leaves in tmp/ after an ambiguous rename."""
    box = Maildir(tmp_path / "m")
    tmp = tmp_path / "m" / "tmp"
    for name in ("1700000000.M1P2Q3R4.host", "1700000000.full.host", "somebody's", "1700000001.young.host"):
        (tmp / name).mkdir(mode=0o500)
    (tmp / "1700000000.full.host").chmod(0o700)
    (tmp / "1700000000.full.host" / "x").touch()
    for name in ("1700000000.M1P2Q3R4.host", "1700000000.full.host", "somebody's"):
        old(tmp / name)
    report = box.clean()
    assert report.removed == ["tmp/1700000000.M1P2Q3R4.host"]
    assert report.failed == []
    left = {"1700000000.full.host", "somebody's", "1700000001.young.host"}
    assert {path.name for path in tmp.iterdir()} == left


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_crash_left_of_making_a_maildir_is_removed(dry_run: bool, tmp_path: Path) -> None:
    """Nobody removed ``.M.<hex>``."""
    box = Maildir(tmp_path / "m")
    left = [
        tmp_path / ".m.0123456789abcdef",
        tmp_path / "m" / "..Sent.0123456789abcdef",
    ]
    kept = [
        tmp_path / ".m.0123456789abcde0",  # young
        tmp_path / ".m.backup",
        tmp_path / ".n.0123456789abcdef",  # another's
        tmp_path / ".m.00000000000000ff",  # with something in it
    ]
    for path in (*left, *kept):
        (path / "tmp").mkdir(parents=True)
        if path is not kept[0]:
            old(path)
    (left[1] / "maildirfolder").touch()
    (kept[3] / "tmp" / "mail").touch()
    for path in (left[1], kept[3]):
        old(path)
    report = box.clean(dry_run)
    assert {"../.m.0123456789abcdef", "..Sent.0123456789abcdef"} <= set(report.removed)
    assert [path.exists() for path in left] == [dry_run, dry_run]
    assert all(path.exists() for path in kept)
    assert (kept[3] / "tmp" / "mail").exists()


def test_who_is_slow_in_making_a_maildir_does_not_publish_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab()
    slow = SimHost(lab.server, "slow")
    rename = slow.rename

    def too_late(src: str, dst: str, **directories: int) -> None:
        monkeypatch.setattr(slow, "rename", rename)
        slow.sleep(37 * HOUR)
        lab.cleaner.clean()
        rename(src, dst, **directories)

    monkeypatch.setattr(slow, "rename", too_late)
    with pytest.raises(NotAMaildir):
        Maildir("/m", create=False, fs=slow).folder("Sent")
    root = lab.writer.open_dir("/m")
    assert sorted(lab.writer.listdir(root)) == ["cur", "new", "tmp"]
