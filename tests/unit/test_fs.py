"""The real file calls, where they do more than pass on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from maildir_safe._fs import OsFileSystem


@pytest.mark.parametrize(
    ("source", "shown"),
    [("/dev/loop0", "/dev/loop0"), ("", ""), (r"//host/my\040share", r"//host/my\040share")],
)
def test_a_mount_is_told_whatever_its_source_is(
    source: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {
        "/proc/self/fdinfo/7": "pos:\t0\nflags:\t0100000\nmnt_id:\t43\n",
        "/proc/self/mountinfo": "4 1 0:1 / / rw - ext4 /dev/sda1 rw\n"
        f"43 4 0:40 / /mnt rw,noatime shared:5 - tmpfs {source} rw,size=4k\n",
    }
    monkeypatch.setattr("maildir_safe._fs.open", lambda path, **_: io.StringIO(tables[path]), raising=False)
    mount = OsFileSystem().mount(7)
    assert (mount.fstype, mount.source, mount.point) == ("tmpfs", shown, "/mnt")
    assert mount.options == "rw,noatime,rw,size=4k"


def test_a_mount_that_cannot_be_found_is_unknown() -> None:
    assert OsFileSystem().mount(10**6).fstype == ""


def test_a_listing_is_fresh_each_time(tmp_path: Path) -> None:
    fs = OsFileSystem()
    fd = fs.open_dir(str(tmp_path))
    assert fs.listdir(fd) == []
    (tmp_path / "a").touch()
    assert fs.listdir(fd) == ["a"]
    fs.close(fd)
