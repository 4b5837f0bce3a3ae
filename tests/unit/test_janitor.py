"""The janitor removes what was abandoned, by the server's clock and the time of the last write alone."""

from __future__ import annotations

import errno

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


def half_made(lab: Lab, path: str) -> None:
    above, _, name = path.rpartition("/")
    directory = lab.writer.open_dir(above or "/")
    lab.writer.mkdir(name, directory)
    inside = lab.writer.open_dir(path)
    for subdir in ("tmp", "new"):
        lab.writer.mkdir(subdir, inside)
    lab.writer.close(lab.writer.create("maildirfolder", inside))


def entries(lab: Lab, path: str) -> list[str]:
    return sorted(lab.writer.listdir(lab.writer.open_dir(path)))


HALF = ["/.m.0123456789abcdef", "/m/..Sent.0123456789abcdef"]
OTHERS = ["/.n.0123456789abcdef", "/.m.0123", "/m/.Sent.0123456789abcdef", "/m/..Sent.0123456789abcdeg"]


def test_a_maildir_or_folder_whose_making_was_interrupted_goes() -> None:
    """Nobody removed these, and nobody could tell what they were."""
    lab = Lab()
    for path in HALF + OTHERS:
        half_made(lab, path)
    lab.writer.sleep(35 * HOUR)
    assert lab.cleaner.clean().removed == []
    lab.writer.sleep(2 * HOUR)
    told = ["..Sent.0123456789abcdef", "../.m.0123456789abcdef"]
    assert lab.cleaner.clean(dry_run=True).removed[1:] == told
    assert len(entries(lab, "/")) == 4
    assert lab.cleaner.clean().removed[1:] == told
    assert entries(lab, "/") == [".m.0123", ".n.0123456789abcdef", "m"]
    assert entries(lab, "/m") == ["..Sent.0123456789abcdeg", ".Sent.0123456789abcdef", "cur", "new", "tmp"]


def test_a_half_made_maildir_that_holds_anything_stays() -> None:
    lab = Lab()
    half_made(lab, HALF[0])
    lab.writer.close(lab.writer.create("1.2.h", lab.writer.open_dir(HALF[0] + "/new")))
    lab.writer.sleep(37 * HOUR)
    lab.cleaner.clean()
    (name,) = (name for name in entries(lab, "/") if name != "m")
    assert entries(lab, f"/{name}/new") == ["1.2.h"]


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
    assert entries(lab, "/m") == ["cur", "new", "tmp"]
