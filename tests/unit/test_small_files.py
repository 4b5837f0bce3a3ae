"""Small durable files, directories whose reply is lost, and the server's clock."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._handoff.group_commit import UNSUPPORTED
from maildir_safe._handoff.small_files import make_directory, publish_small_file, server_time, write_all
from maildir_safe.testing.simfs import Fault, SimHost, SimServer


def host(*faults: Fault, profile: str = "local") -> tuple[SimHost, int]:
    fs = SimHost(SimServer(profile), faults=faults)
    return fs, fs.open_dir("/")


def contents(fs: SimHost, root: int, name: str) -> bytes:
    return fs.read(fs.open(name, root), 1 << 20)


def test_short_writes_are_completed() -> None:
    fs, root = host(Fault("write", 0, times=3))
    fd = fs.create("a", root)
    write_all(fs, fd, b"0123456789" * 10)
    assert contents(fs, root, "a") == b"0123456789" * 10


def test_a_small_file_replaces_the_one_before_and_survives_a_crash() -> None:
    fs, root = host()
    for data in (b"one", b"two"):
        publish_small_file(fs, root, "a", data)
    assert fs.listdir(root) == ["a"]
    assert contents(fs, root, "a") == b"two"
    kinds = [call.kind for call in fs.server.history]
    assert kinds[1:6] == ["create", "write", "fsync", "close", "rename"]
    assert kinds[6] == "fsync_dir"


@pytest.mark.parametrize("kind", ["create", "write", "fsync", "rename"])
def test_a_small_file_that_cannot_be_made_leaves_nothing_behind(kind: str) -> None:
    fs, root = host(Fault(kind, errno.ENOSPC))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space"):
        publish_small_file(fs, root, "a", b"x")
    assert fs.listdir(root) == []


def test_a_lost_reply_to_the_rename_of_a_small_file_is_no_failure() -> None:
    fs, root = host(Fault("rename", errno.ENOENT, "done"))
    publish_small_file(fs, root, "a", b"x")
    assert contents(fs, root, "a") == b"x"


def test_a_rename_that_says_enoent_and_did_nothing_is_a_failure() -> None:
    fs, root = host(Fault("rename", errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        publish_small_file(fs, root, "a", b"x")
    assert fs.listdir(root) == []


@pytest.mark.parametrize("unsupported", sorted(UNSUPPORTED))
def test_a_small_file_is_kept_where_there_is_no_fsync(unsupported: int) -> None:
    """The probe's own list had four of the six errnos, and called a mount failing that has no fsync."""
    fs, root = host(Fault("fsync", unsupported), Fault("fsync_dir", unsupported))
    publish_small_file(fs, root, "a", b"x")
    assert fs.listdir(root) == ["a"]


@pytest.mark.parametrize("effect", ["done", "none"])
def test_eexist_from_mkdir_is_not_believed(effect: str) -> None:
    """``done`` is a lost reply; ``none`` is said of a directory that is not there."""
    fs, root = host(Fault("mkdir", errno.EEXIST, effect))  # type: ignore[arg-type]
    fd = make_directory(fs, "d", root)
    assert fs.listdir(fd) == []
    assert fs.listdir(root) == ["d"]


def test_a_directory_that_never_comes_into_being_is_an_error() -> None:
    fs, root = host(Fault("mkdir", errno.EEXIST, times=9))
    with pytest.raises(FileNotFoundError):
        make_directory(fs, "d", root)


def test_the_servers_clock_is_read_though_the_disk_is_full_and_this_hosts_is_wrong() -> None:
    server = SimServer("nfs4")
    fs = SimHost(server, clock_offset=-86400.0, faults=[Fault("write", errno.ENOSPC)])
    root = fs.open_dir("/")
    right = SimHost(server, "b").time_ns() / 1e9
    assert abs(server_time(fs, root) - right) < 5
    assert fs.listdir(root) == []


def test_a_small_file_has_its_mode(tmp_path: Path) -> None:
    fs = OsFileSystem()
    root = fs.open_dir(str(tmp_path))
    publish_small_file(fs, root, "a", b"x", mode=0o644)
    publish_small_file(fs, root, "b", b"x")
    fs.close(root)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o644, 0o600]
