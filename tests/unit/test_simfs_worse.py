"""The simulated file system at its worst: calls that repeat themselves, second names, remounts, holders."""

from __future__ import annotations

import contextlib
import errno
import io
import stat
from typing import Any

import pytest

from maildir_safe.testing.simfile import SimFile
from maildir_safe.testing.simfs import Fault, SimHost, SimServer


def started(profile: str = "local", *faults: Fault) -> tuple[SimServer, SimHost, int, int]:
    server = SimServer(profile)
    server.put_tree("/box", "/box/tmp", "/box/new")
    a = SimHost(server, faults=faults)
    return server, a, a.open_dir("/box/tmp"), a.open_dir("/box/new")


def put(host: SimHost, name: str, dir_fd: int, data: bytes = b"mail") -> None:
    fd = host.create(name, dir_fd)
    host.write(fd, data)
    host.fsync(fd)
    host.close(fd)


def raises(code: int) -> Any:
    return pytest.raises(OSError, match=rf"Errno {code}\b")


def test_the_kernel_repeats_a_call_with_a_name_once_after_ESTALE() -> None:
    server, a, tmp, _ = started("local", Fault("create", errno.ESTALE))
    put(a, "x", tmp)
    assert server.files() == {"/box/tmp/x": b"mail"}
    assert [call.kind for call in server.history].count("create") == 2


def test_ESTALE_twice_is_told() -> None:
    _, a, tmp, _ = started("local", Fault("create", errno.ESTALE, times=2))
    with raises(errno.ESTALE):
        a.create("x", tmp)


def test_a_rename_that_was_done_is_repeated_after_ESTALE_and_says_ENOENT() -> None:
    server, a, tmp, new = started("local", Fault("rename", errno.ESTALE, "done"))
    put(a, "x", tmp)
    with raises(errno.ENOENT):
        a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    assert server.files() == {"/box/new/x": b"mail"}


def test_ESTALE_of_a_descriptor_is_not_repeated() -> None:
    _, a, tmp, _ = started("local", Fault("listdir", errno.ESTALE))
    with raises(errno.ESTALE):
        a.listdir(tmp)


def test_an_fsync_that_says_EINTR_has_failed_and_a_second_one_hears_nothing_of_what_was_dropped() -> None:
    server, a, tmp, _ = started("local", Fault("fsync", errno.EINTR))
    fd = a.create("x", tmp)
    a.write(fd, b"mail")
    with raises(errno.EINTR):  # the seam does not repeat it, as os.fsync would
        a.fsync(fd)
    a.fsync(fd)
    a.close(fd)
    assert server.files() == {"/box/tmp/x": b""}


def test_python_does_not_repeat_a_rename_after_EINTR() -> None:
    _, a, tmp, new = started("local", Fault("rename", errno.EINTR))
    put(a, "x", tmp)
    with raises(errno.EINTR):
        a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)


def test_a_create_that_is_executed_late_makes_a_name_again_that_was_renamed_away() -> None:
    server, a, tmp, new = started("local", Fault("create", errno.ESTALE, "late", delay=3.0))
    put(a, "x", tmp)
    a.rename("x", "y", src_dir_fd=tmp, dst_dir_fd=new)
    a.sleep(5.0)
    assert server.files() == {"/box/new/y": b"mail", "/box/tmp/x": b""}


def test_a_rename_from_one_name_of_a_file_to_another_does_nothing() -> None:
    server, a, tmp, new = started()
    put(a, "x", tmp)
    a.link("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    assert server.files() == {"/box/tmp/x": b"mail", "/box/new/x": b"mail"}
    assert a.stat("x", new).st_nlink == 2


@pytest.mark.parametrize("error", [0, errno.EIO])
def test_a_rename_may_leave_its_old_name_as_a_second_one(error: int) -> None:
    server, a, tmp, new = started("gluster", Fault("rename", error, "both"))
    put(a, "x", tmp)
    with raises(error) if error else contextlib.nullcontext():
        a.rename("x", "y", src_dir_fd=tmp, dst_dir_fd=new)
    assert server.files() == {"/box/tmp/x": b"mail", "/box/new/y": b"mail"}
    assert a.stat("x", tmp).st_ino == a.stat("y", new).st_ino


def test_read_says_EAGAIN_or_takes_half() -> None:
    _, a, tmp, _ = started("local", Fault("read", errno.EAGAIN), Fault("read", 0, nth=2))
    put(a, "x", tmp, b"0123456789")
    fd = a.open("x", tmp)
    with raises(errno.EAGAIN):
        a.read(fd, 10)
    assert a.read(fd, 10) == b"01234"
    assert a.read(fd, 10) == b"56789"


def test_a_buffered_reader_takes_EAGAIN_for_the_end() -> None:
    _, a, tmp, _ = started("local", Fault("read", errno.EAGAIN, nth=2))
    put(a, "x", tmp, b"1234567\n" * 10_000)
    with io.BufferedReader(SimFile(a, a.open("x", tmp), "x")) as file:
        assert 0 < len(b"".join(file)) < 80_000


@pytest.mark.parametrize("empty", [False, True])
def test_after_a_remount_descriptors_go_on_to_what_is_detached(empty: bool) -> None:
    server, a, tmp, new = started()
    put(a, "x", tmp)
    before = a.fstat(new).st_ino
    server.remount("/box", empty=empty)
    a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    assert a.listdir(new) == ["x"]
    if empty:
        assert server.files() == {}
        with raises(errno.ENOENT):
            a.open_dir("/box/new")
    else:
        assert server.files() == {"/box/tmp/x": b"mail"}
        assert a.fstat(a.open_dir("/box/new")).st_ino != before


def test_a_directory_that_is_held_open_is_not_fetched_anew_after_another_client_changed_it() -> None:
    server, a, tmp, _ = started("coda")
    again = a.open_dir("/box/tmp")  # another process of the same host
    b = SimHost(server, "b")
    put(b, "x", b.open_dir("/box/tmp"))
    b.sleep(30.0)
    with raises(errno.EIO):
        a.listdir(tmp)
    with raises(errno.ETOOMANYREFS):
        a.create("y", tmp)
    a.close(again)
    with raises(errno.EIO):  # opened anew before the last was let go
        a.open_dir("/box/tmp")
    a.close(tmp)
    assert a.listdir(a.open_dir("/box/tmp")) == ["x"]


def test_a_host_that_changed_a_directory_itself_may_hold_it() -> None:
    server, a, tmp, _ = started("coda")
    put(a, "x", tmp)
    a.sleep(30.0)
    assert server.files() == {"/box/tmp/x": b"mail"}
    assert a.listdir(tmp) == ["x"]


def test_a_name_that_a_directory_has_taken_is_neither_created_late_nor_renamed_over_a_message() -> None:
    """What keeps a late create and a late rename of one name apart, without a link."""
    server, a, tmp, new = started(
        "local",
        Fault("create", errno.ESTALE, "late", delay=3.0),
        Fault("rename", errno.EIO, "late", delay=4.0),
    )
    put(a, "x", tmp)
    with raises(errno.EIO):
        a.rename("x", "y", src_dir_fd=tmp, dst_dir_fd=new)
    a.rename("x", "y", src_dir_fd=tmp, dst_dir_fd=new)
    a.mkdir("x", tmp)
    a.sleep(10.0)
    assert server.files() == {"/box/new/y": b"mail"}
    assert stat.S_ISDIR(a.stat("x", tmp).st_mode)
