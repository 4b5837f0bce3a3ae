"""The real file calls, where they do more than pass on."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from maildir_safe._fs import posix
from maildir_safe._fs.posix import OsFileSystem


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
    monkeypatch.setattr(
        "maildir_safe._fs.posix.open", lambda path, **_: io.StringIO(tables[path]), raising=False
    )
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


def test_an_fsync_that_is_interrupted_is_not_made_again(tmp_path: Path) -> None:
    """CPython repeats `os.fsync` on EINTR, on the same file. In a child: a library is loaded before libc."""
    library, source, log = tmp_path / "eintr.so", tmp_path / "eintr.c", tmp_path / "calls"
    source.write_text(
        "#include <errno.h>\n#include <fcntl.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        "static int calls;\n"
        'int fsync(int fd) { (void)fd; int log = open(getenv("CALLS"), O_WRONLY|O_CREAT|O_APPEND, 0600);\n'
        '  write(log, "x", 1); close(log); if (calls++) return 0; errno = EINTR; return -1; }\n'
    )
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, source], check=True)
    code = (
        "from maildir_safe._fs.posix import OsFileSystem as F\n"
        "try: F().fsync(0)\nexcept InterruptedError: print('EINTR')"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_PRELOAD": str(library), "CALLS": str(log)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "EINTR\n"
    assert log.read_text() == "x"


def test_fsync_says_what_is_wrong(tmp_path: Path) -> None:
    fs = OsFileSystem()
    with pytest.raises(OSError, match="Bad file descriptor"):
        fs.fsync(10**6)
    fd = fs.open_dir(str(tmp_path))
    fs.fsync(fd)
    fs.close(fd)


@pytest.mark.parametrize(("fstype", "loaded"), [("ext4", False), ("fuse.x", True)])
def test_where_fsync_is_not_interrupted_the_systems_own_is_used(
    fstype: str, loaded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_ctypes` would cost each delivery on a local disk a twentieth of its start-up."""
    fs = OsFileSystem()
    fd = fs.open_dir(str(tmp_path))
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    monkeypatch.setattr(posix, "_interrupted", None)
    posix._note_type(fstype)
    fs.fsync(fd)
    assert calls == ([] if loaded else [fd])
    posix._note_type("fuse.x")  # another mount is in use as well
    fs.fsync(fd)
    assert len(calls) == (not loaded)
    fs.close(fd)


def test_a_directory_that_cannot_be_examined_is_closed_and_its_mount_is_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mount` never raises: a stale handle says so at the next call, where it is expected."""
    fs, before = OsFileSystem(), set(os.listdir("/proc/self/fd"))
    root = fs.open_dir(str(tmp_path))
    (tmp_path / "a").mkdir()

    fstat = os.fstat

    def stale(fd: int) -> os.stat_result:
        if stat.S_ISDIR(fstat(fd).st_mode):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", stale)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(OSError, match="Stale"):
        fs.open_dir("a", root)
    assert fs.mount(root).fstype
    fs.close(root)
    assert set(os.listdir("/proc/self/fd")) == before
