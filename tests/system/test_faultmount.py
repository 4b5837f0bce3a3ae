"""The fault mount itself: without faults it is the directory underneath, with them it does as told."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FaultMount]:
    with FaultMount(tmp_path) as mount:
        yield mount


def _errno(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_without_faults_it_is_the_directory(mount: FaultMount) -> None:
    (mount.path / "tmp").mkdir()
    (mount.path / "new").mkdir()
    data = os.urandom(300_000)
    _write(mount.path / "tmp/a", data)
    os.rename(mount.path / "tmp/a", mount.path / "new/b")
    os.link(mount.path / "new/b", mount.path / "new/c")
    assert (mount.path / "new/c").read_bytes() == data == (mount.backing / "new/b").read_bytes()
    assert os.stat(mount.path / "new/b").st_nlink == 2
    assert os.stat(mount.path / "new/b").st_ino == os.stat(mount.backing / "new/c").st_ino
    assert sorted(os.listdir(mount.path / "new")) == ["b", "c"]
    os.unlink(mount.path / "new/b")
    assert _errno(lambda: os.stat(mount.path / "new/b")) == errno.ENOENT
    os.utime(mount.path / "new/c", (5, 7))
    assert os.stat(mount.backing / "new/c").st_mtime == 7
    with open(mount.path / "new/c", "rb") as held:
        os.unlink(mount.path / "new/c")
        assert held.read() == data
    assert mount.fired() == []


def test_changes_underneath_are_seen_at_once(mount: FaultMount) -> None:
    assert not (mount.path / "a").exists()
    (mount.backing / "a").write_bytes(b"1")
    assert (mount.path / "a").exists()
    (mount.backing / "a").unlink()
    assert not (mount.path / "a").exists()


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EEXIST, errno.EIO, errno.ETIMEDOUT])
@pytest.mark.parametrize("executed", [True, False])
def test_rename_reports_an_error(mount: FaultMount, error: int, executed: bool) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("rename", error, name="b", executed=executed)
    assert _errno(lambda: os.rename(mount.path / "a", mount.path / "b")) == error
    assert os.listdir(mount.path) == ["b" if executed else "a"]
    assert [(f.operation, f.path, f.error, f.executed) for f in mount.fired()] == [
        ("rename", "b", error, executed)
    ]


def test_the_kernel_repeats_a_rename_that_got_estale(mount: FaultMount) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("rename", errno.ESTALE, times=2)
    assert _errno(lambda: os.rename(mount.path / "a", mount.path / "b")) == errno.ESTALE
    assert len(mount.fired()) == 2
    mount.inject("rename", errno.ESTALE, executed=True)
    assert _errno(lambda: os.rename(mount.path / "a", mount.path / "b")) == errno.ENOENT
    assert os.listdir(mount.path) == ["b"]
    assert len(mount.fired()) == 3


@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK])
def test_link_is_refused(mount: FaultMount, error: int) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("link", error, times=None)
    for _ in range(2):
        assert _errno(lambda: os.link(mount.path / "a", mount.path / "b")) == error
    assert os.listdir(mount.path) == ["a"]
    assert len(mount.fired("link")) == 2


def test_a_link_that_is_not_implemented_arrives_as_eperm(mount: FaultMount) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("link", errno.ENOSYS)
    for _ in range(2):  # "never ask me again"; older kernels pass ENOSYS on
        assert _errno(lambda: os.link(mount.path / "a", mount.path / "b")) in (errno.EPERM, errno.ENOSYS)
    assert len(mount.fired("link")) == 1


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "close"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_writing_fails(mount: FaultMount, operation: str, error: int) -> None:
    mount.inject(operation, error, name="a")
    _write(mount.path / "b", b"1")
    assert _errno(lambda: _write(mount.path / "a", b"1")) == error
    assert _errno(lambda: _write(mount.path / "a", b"1")) == 0
    assert len(mount.fired(operation)) == 1


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EIO])
def test_directory_fsync_fails(mount: FaultMount, error: int) -> None:
    (mount.backing / "new").mkdir()
    mount.inject("fsyncdir", error, name="new")
    fd = os.open(mount.path / "new", os.O_RDONLY)
    try:
        assert [_errno(lambda: os.fsync(fd)) for _ in range(2)] == [error, 0]
    finally:
        os.close(fd)


def test_a_late_rename_is_executed_after_its_error(mount: FaultMount) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("rename", errno.ETIMEDOUT, executed="late")
    assert _errno(lambda: os.rename(mount.path / "a", mount.path / "b")) == errno.ETIMEDOUT
    assert os.listdir(mount.path) == ["a"]
    assert mount.release() == [0]
    assert os.listdir(mount.path) == ["b"]
    assert mount.release() == []


def test_a_late_rename_finds_its_source_gone(mount: FaultMount) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("rename", errno.EIO, executed="late")
    assert _errno(lambda: os.rename(mount.path / "a", mount.path / "b")) == errno.EIO
    os.rename(mount.path / "a", mount.path / "withdrawn")
    assert mount.release() == [errno.ENOENT]
    assert os.listdir(mount.path) == ["withdrawn"]


def test_a_copying_rename_leaves_both(mount: FaultMount) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("rename", errno.EIO, executed="copy")
    assert _errno(lambda: os.rename(mount.path / "a", mount.path / "b")) == errno.EIO
    assert sorted(os.listdir(mount.path)) == ["a", "b"]


def test_a_held_answer_waits_while_the_call_is_done(mount: FaultMount) -> None:
    (mount.backing / "a").write_bytes(b"1")
    mount.inject("rename", errno.EIO, executed=True, held=True)
    answers: list[int] = []
    caller = threading.Thread(
        target=lambda: answers.append(_errno(lambda: os.rename(mount.path / "a", mount.path / "b")))
    )
    caller.start()
    while not mount.fired():
        time.sleep(0.01)
    assert os.listdir(mount.backing) == ["b"]
    assert answers == []
    mount.release()
    caller.join()
    assert answers == [errno.EIO]


def test_listings_fail_or_are_stale(mount: FaultMount) -> None:
    (mount.backing / "new").mkdir()
    (mount.backing / "new/a").write_bytes(b"1")
    mount.inject("listdir", errno.ESTALE, name="new")
    mount.inject("listdir", name="new", stale=True)
    (mount.backing / "new/b").write_bytes(b"1")
    assert _errno(lambda: os.listdir(mount.path / "new")) == errno.ESTALE
    assert os.listdir(mount.path / "new") == ["a"]
    assert sorted(os.listdir(mount.path / "new")) == ["a", "b"]
    assert len(mount.fired("listdir")) == 2


def test_a_slow_fsync_delays_nothing_else(mount: FaultMount) -> None:
    mount.inject("fsync", held=True, name="slow")
    slow = threading.Thread(target=_write, args=(mount.path / "slow", b"1"))
    slow.start()
    _write(mount.path / "fast", b"1")
    while not mount.fired("fsync"):
        time.sleep(0.01)
    assert slow.is_alive()
    mount.release()
    slow.join()


def test_nonsense_is_refused(mount: FaultMount) -> None:
    with pytest.raises(ValueError, match="unknown operation"):
        mount.inject("renname", errno.EIO)
    with pytest.raises(ValueError, match="give the error"):
        mount.inject("rename", executed=True)


def test_faults_can_be_cleared(mount: FaultMount) -> None:
    mount.inject("create", errno.EIO, times=None)
    mount.clear()
    _write(mount.path / "a", b"1")
    assert mount.fired() == []


def test_what_others_make_is_theirs(mount: FaultMount) -> None:
    if os.geteuid() != 0:
        pytest.fail("tests of real mounts need root")
    os.chmod(mount.backing, 0o777)
    for directory in (mount.backing, *mount.backing.parents):
        os.chmod(directory, directory.stat().st_mode | 0o011)
    os.chmod(mount.path, 0o777)
    subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "touch", mount.path / "a"], check=True)
    assert os.stat(mount.backing / "a").st_uid == 65534


def test_the_mount_ends_with_its_owner(tmp_path: Path) -> None:
    mount = FaultMount(tmp_path)
    assert os.path.ismount(mount.path)
    mount.close()
    mount.close()
    assert not mount.path.exists()


def test_it_says_so_when_it_cannot_mount(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no FUSE mount"):
        FaultMount(tmp_path, tmp_path / "not-there")
