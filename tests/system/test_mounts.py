"""The mounts themselves: each kind comes up, is what it says, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import EVERY, Mounts, on_mounts

from benchmarks.mounts import KINDS, Mount, MountError, mounted, packages, running
from benchmarks.mounts.kind import Kind
from benchmarks.mounts.stage import Stage, loops_below, mounts_below
from maildir_safe._fs.posix import OsFileSystem

REFUSE_LINKS = ("sshfs-nolink", "exfat", "encfs-paranoia")


def soon(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether something becomes true: another client's caches may hide a change for a while."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()


def reads(file: Path) -> bytes | OSError:
    """What a file holds, or why it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        return error


def processes(stage: Path) -> list[str]:
    """The command lines of live processes that name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended since
            found.append(path.read_text(errors="replace"))
    return [line for line in found if str(stage) in line]


@pytest.fixture
def can_mount(mounts: Mounts) -> None:
    """Skip (in CI: fail) where this machine cannot even mount a disk image."""
    mounts.get("ext4")


@on_mounts(*EVERY)
def test_renames_across_directories_for_every_client(mount: Mount) -> None:
    fs = OsFileSystem()
    for client in mount.paths:
        fd = fs.open_dir(str(client))
        assert fs.mount(fd).fstype.startswith(mount.kind.fstype)
        fs.close(fd)
        assert client.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev
    directory = mount.folder()
    (directory / "tmp").mkdir()
    (directory / "new").mkdir()
    (directory / "tmp" / "a").write_bytes(b"hello")
    os.rename(directory / "tmp" / "a", directory / "new" / "b")
    assert os.listdir(directory / "tmp") == []
    for client in mount.paths:
        seen = client / directory.relative_to(mount.paths[0]) / "new" / "b"
        assert soon(seen.exists), f"{client} does not see it"
        assert seen.read_bytes() == b"hello"


@on_mounts(*REFUSE_LINKS)
def test_refuses_hard_links_across_directories(mount: Mount) -> None:
    directory = mount.folder()
    (directory / "tmp").mkdir()
    (directory / "tmp" / "a").write_bytes(b"hello")
    with pytest.raises(PermissionError):
        os.link(directory / "tmp" / "a", directory / "b")


@on_mounts("gluster")
def test_a_server_crashes_and_comes_back(mount: Mount) -> None:
    file = mount.folder() / "a"
    file.write_bytes(b"hello")
    mount.stop("s1")
    with pytest.raises(OSError, match="not connected"):
        file.with_name("b").write_bytes(b"hello")
    mount.start("s1")
    assert soon(lambda: reads(file) == b"hello")


@pytest.mark.mounts
@pytest.mark.parametrize("name", ["ext4", "exfat", "sshfs", "gluster"])
def test_leaves_nothing_behind(name: str, tmp_path: Path, mounts: Mounts) -> None:
    mounts.get(name)  # skips, or fails, where this machine cannot
    with mounted(name, tmp_path) as mount:
        (mount.paths[0] / "a").write_bytes(b"hello")
        assert processes(tmp_path) or loops_below(tmp_path)
    assert (mounts_below(tmp_path), loops_below(tmp_path), os.listdir(tmp_path)) == ([], [], [])
    assert soon(lambda: not processes(tmp_path)), processes(tmp_path)


@pytest.mark.mounts
@pytest.mark.usefixtures("can_mount")
def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(stage: Stage) -> list[Path]:
        image, point = stage.image("mkfs.ext4", "-q"), stage.folder("A")
        stage.run("mount", "-o", "loop", image, point)
        stage.spawn("sleep", "1000", host="lan")
        stage.run("sh", "-c", "echo no such luck; exit 3")
        return [point]

    monkeypatch.setitem(KINDS, "doomed", Kind("doomed", "", (), start))
    with pytest.raises(MountError, match=r"status 3: no such luck"), mounted("doomed", tmp_path):
        pass
    assert (mounts_below(tmp_path), loops_below(tmp_path), os.listdir(tmp_path)) == ([], [], [])


@pytest.mark.mounts
@pytest.mark.usefixtures("can_mount")
def test_the_mount_of_a_starter_that_was_killed_can_be_taken_down(tmp_path: Path) -> None:
    code = "import sys; from benchmarks.mounts import up; from pathlib import Path\n"
    code += "up('ext4', Path(sys.argv[1])); print('up', flush=True); sys.stdin.read()"
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    assert starter.stdin is not None
    assert starter.stdout.readline() == b"up\n"
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    starter.stdin.close()
    running(tmp_path)["ext4"].down()
    assert (mounts_below(tmp_path), loops_below(tmp_path), os.listdir(tmp_path)) == ([], [], [])


@pytest.mark.mounts
@pytest.mark.usefixtures("can_mount")
def test_an_open_file_is_reported_and_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.mounts.stage.RELEASE", 0.5)
    with mounted("ext4", tmp_path) as mount:
        held = (mount.paths[0] / "a").open("wb")
        with pytest.raises(MountError, match="loop"):
            mount.down()
        held.close()
        monkeypatch.undo()


def test_packages_are_named_once() -> None:
    assert packages([KINDS["sshfs"], KINDS["sshfs-nolink"]]) == ["openssh-client", "openssh-server", "sshfs"]


def test_kinds_of_the_guest_need_what_runs_the_guest() -> None:
    assert "qemu-system-x86" in packages([KINDS["afs"]])
    assert "openafs-fileserver" not in packages([KINDS["afs"]])


def test_in_ci_a_mount_that_does_not_come_up_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "doomed", Kind("doomed", "", ("no-such-package",), lambda _: [], "tmpfs"))
    monkeypatch.setitem(KINDS, "foreign", Kind("foreign", "", (), lambda _: [], "no-such-fs"))
    session = Mounts()
    try:
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match="needs"):
            session.get("doomed")
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="needs"):
            session.get("doomed")
        with pytest.raises(pytest.skip.Exception, match="kernel"):
            session.get("foreign")
    finally:
        session.down()
