"""The simulated file system itself: durability, crashes, caches, faults, several hosts."""

from __future__ import annotations

import errno
import stat

import pytest

from maildir_safe._maildir.maildir import Maildir
from maildir_safe.testing.simfs import PROFILES, Fault, Mode, SimHost, SimServer, interleave

LINKS_REFUSED = [("coda", "EXDEV"), ("afs", "EREMOTEIO"), ("vfat", "EPERM"), ("rclone", "EIO")]


def started(
    profile: str = "local", mode: Mode = "atomic", faults: tuple[Fault, ...] = ()
) -> tuple[SimServer, SimHost, int, int]:
    server = SimServer(profile, mode)
    server.put_tree("/tmp", "/new")
    a = SimHost(server, faults=faults)
    return server, a, a.open_dir("/tmp"), a.open_dir("/new")


def put(host: SimHost, name: str, tmp: int, data: bytes = b"mail") -> None:
    fd = host.create(name, tmp)
    host.write(fd, data)
    host.fsync(fd)
    host.close(fd)


def after_every_crash(server: SimServer) -> list[dict[str, bytes]]:
    choices = list(server.disk.choices())
    found = [server.crashed(choice).files() for choice in choices]
    assert found == [server.disk.files_after(choice) for choice in choices]
    return found


def test_the_example_in_the_documentation() -> None:
    server = SimServer("nfs3")
    host = SimHost(server, faults=[Fault("rename", errno.EIO, "done")])
    receipt = Maildir("/mail", fs=host).deliver(b"Subject: hello\n\n")
    assert server.files() == {receipt.path: b"Subject: hello\n\n"}
    assert receipt.renames == 1
    assert host.open_descriptors == []


def test_fsync_of_a_file_makes_its_contents_durable_but_not_its_name() -> None:
    server, a, tmp, _ = started()
    put(a, "x", tmp)
    states = after_every_crash(server)
    assert {} in states
    assert {"/tmp/x": b"mail"} in states
    assert len(states) == 2


@pytest.mark.parametrize("mode", ["ordered", "atomic", "weak"])
def test_fsync_of_the_destination_makes_a_rename_durable(mode: Mode) -> None:
    server, a, tmp, new = started(mode=mode)
    put(a, "x", tmp)
    a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    assert any("/new/x" not in state for state in after_every_crash(server))
    a.fsync(new)
    assert all(state["/new/x"] == b"mail" for state in after_every_crash(server))


def test_a_rename_is_kept_whole_except_in_weak_mode() -> None:
    states = {}
    for mode in ("atomic", "weak"):
        server, a, tmp, new = started(mode=mode)  # type: ignore[arg-type]
        put(a, "x", tmp)
        a.fsync(tmp)
        a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
        states[mode] = {tuple(sorted(state)) for state in after_every_crash(server)}
    assert states["atomic"] == {("/tmp/x",), ("/new/x",)}
    assert states["weak"] == states["atomic"] | {(), ("/new/x", "/tmp/x")}


def test_ordered_keeps_a_prefix() -> None:
    server, a, tmp, _ = started(mode="ordered")
    for name in "xyz":
        put(a, name, tmp)
    assert [len(state) for state in after_every_crash(server)] == [3, 2, 1, 0]


def test_unsynced_contents_may_be_old_torn_or_new() -> None:
    server, a, tmp, _ = started()
    a.write(a.create("x", tmp), b"mail")
    a.fsync(tmp)
    assert {state["/tmp/x"] for state in after_every_crash(server)} == {b"", b"ma", b"mail"}
    a.syncfs(tmp)
    assert after_every_crash(server) == [{"/tmp/x": b"mail"}]


def test_weak_zeroes_and_reorders_writes() -> None:
    server, a, tmp, _ = started(mode="weak")
    fd = a.create("x", tmp)
    a.fsync(tmp)
    a.write(fd, b"ab")
    a.write(fd, b"cd")
    found = {state["/tmp/x"] for state in after_every_crash(server)}
    assert {b"", b"ab", b"\0\0cd", b"abcd", b"ab\0\0", b"a\0cd"} <= found


@pytest.mark.parametrize("call", ["fsync", "close"])
def test_a_failed_flush_drops_the_data_and_the_next_fsync_is_silent(call: str) -> None:
    server, a, tmp, _ = started(faults=(Fault(call, errno.EIO),))  # type: ignore[arg-type]
    fd = a.create("x", tmp)
    a.write(fd, b"mail")
    with pytest.raises(OSError, match="Input/output") as caught:
        getattr(a, call)(fd)
    assert caught.value.errno == errno.EIO
    if call == "fsync":
        a.fsync(fd)
    assert server.files() == {"/tmp/x": b""}


@pytest.mark.parametrize(("effect", "at_once", "later"), [("none", 1, 1), ("done", 0, 0), ("late", 1, 0)])
def test_a_failed_call_was_not_executed_or_was_or_will_be(effect: str, at_once: int, later: int) -> None:
    fault = Fault("rename", errno.EIO, effect, delay=5)  # type: ignore[arg-type]
    server, a, tmp, new = started("nfs3", faults=(fault,))
    put(a, "x", tmp)
    with pytest.raises(OSError, match="Input/output"):
        a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    assert ("/tmp/x" in server.files()) == at_once
    a.sleep(6)
    assert ("/tmp/x" in server.files()) == later
    assert ("/new/x" in server.files()) != later
    assert [fault.effect for fault in a.plan.hits] == [effect]


def test_a_fault_can_wait_for_a_name_and_repeat() -> None:
    _, a, tmp, _ = started(faults=(Fault("create", errno.ENOSPC, match="tmp/b", nth=2, times=2),))
    results = []
    for name in ["a", "b", "a2", "b2", "b3", "b4"]:
        try:
            a.create(name, tmp)
            results.append(0)
        except OSError as error:
            results.append(error.errno)
    assert results == [0, 0, 0, errno.ENOSPC, errno.ENOSPC, 0]


def test_a_short_write_and_a_listing_that_misses_a_name() -> None:
    _, a, tmp, _ = started(
        faults=(
            Fault("write", 0),
            Fault("listdir", 0, hides="x"),
        )
    )
    assert a.write(a.create("x", tmp), b"mail") == 2
    put(a, "y", tmp)
    assert a.listdir(tmp) == ["y"]
    assert a.listdir(tmp) == ["x", "y"]


@pytest.mark.parametrize(("profile", "code"), LINKS_REFUSED)
def test_links_are_refused_as_measured(profile: str, code: str) -> None:
    _, a, tmp, new = started(profile)
    put(a, "x", tmp)
    with pytest.raises(OSError, match="x") as caught:
        a.link("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    assert errno.errorcode[caught.value.errno or 0] == code


def test_an_absent_name_stays_absent_on_nfs_until_the_directory_is_listed() -> None:
    server, a, _, a_new = started("nfs3")
    b = SimHost(server, "b")
    b_new = b.open_dir("/new")
    with pytest.raises(FileNotFoundError):
        b.stat("x", b_new)
    put(a, "x", a_new)
    with pytest.raises(FileNotFoundError):
        b.stat("x", b_new)
    assert b.listdir(b_new) == ["x"]
    assert stat.S_ISREG(b.stat("x", b_new).st_mode)


def test_a_name_that_is_gone_stays_present_on_nfs_but_rename_tells() -> None:
    server, a, a_tmp, a_new = started("nfs3")
    b = SimHost(server, "b")
    b_tmp, b_new = b.open_dir("/tmp"), b.open_dir("/new")
    put(a, "x", a_tmp)
    b.stat("x", b_tmp)
    a.rename("x", "y", src_dir_fd=a_tmp, dst_dir_fd=a_new)
    assert b.stat("x", b_tmp).st_size == 4
    with pytest.raises(FileNotFoundError):
        b.rename("x", "z", src_dir_fd=b_tmp, dst_dir_fd=b_new)


def test_after_a_lost_reply_a_look_up_of_the_target_says_absent() -> None:
    _, a, tmp, new = started("nfs3", faults=(Fault("rename", errno.EIO, "done"),))
    put(a, "x", tmp)
    with pytest.raises(OSError, match="Input"):
        a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    with pytest.raises(FileNotFoundError):
        a.stat("x", new)
    assert a.listdir(new) == ["x"]


def test_write_back_two_hosts_both_win_and_the_second_gets_a_conflict() -> None:
    server, a, a_tmp, a_new = started("coda")
    put(a, "x", a_tmp)
    a.sleep(21)
    b = SimHost(server, "b")
    b_tmp, b_new = b.open_dir("/tmp"), b.open_dir("/new")
    a.rename("x", "a", src_dir_fd=a_tmp, dst_dir_fd=a_new)
    assert b.listdir(b_tmp) == ["x"]
    b.rename("x", "b", src_dir_fd=b_tmp, dst_dir_fd=b_new)
    server.settle()
    assert list(server.files()) == ["/new/a"]
    assert len(server.conflicts) == 1


def test_partition_fails_calls_or_holds_them_back() -> None:
    for profile in ("nfs4", "coda"):
        server, _, _, _ = started(profile)
        a = SimHost(server, "b")
        tmp = a.open_dir("/tmp")
        a.partitioned = True
        if profile == "nfs4":
            with pytest.raises(OSError, match="timed out"):
                put(a, "x", tmp)
        else:
            put(a, "x", tmp)
            server.advance(100)
        assert server.files() == {}
        server.settle()
        assert server.files() == ({} if profile == "nfs4" else {"/tmp/x": b"mail"})


@pytest.mark.parametrize("first", ["tmp", "new"])
def test_coda_resolves_cleanly_only_when_the_source_is_looked_at_first(first: str) -> None:
    server, a, tmp, new = started("coda")
    server.replica_down()
    put(a, "x", tmp)
    a.rename("x", "x", src_dir_fd=tmp, dst_dir_fd=new)
    a.sleep(21)
    server.replica_up()
    b = SimHost(server, "b")
    b.stat(first, b.open_dir("/"))
    root = b.open_dir("/")
    if first == "tmp":
        assert b.listdir(b.open_dir("/new")) == ["x"]
        assert not server.conflicts
    else:
        assert b.readlink("new", root).startswith("@")
        with pytest.raises(FileNotFoundError):
            b.open_dir("/new")
        with pytest.raises(OSError, match="Stale"):
            a.listdir(new)


def test_names_a_mount_refuses_and_folds() -> None:
    _, a, tmp, _ = started("vfat")
    with pytest.raises(OSError, match="x:2") as caught:
        a.create("x:2,S", tmp)
    assert caught.value.errno == errno.EINVAL
    put(a, "Mail", tmp)
    with pytest.raises(FileExistsError):
        a.create("mAIL", tmp)
    a.unlink("MAIL", dir_fd=tmp)
    assert a.listdir(tmp) == []
    with pytest.raises(OSError, match="long"):
        a.create("y" * 256, tmp)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_run_twice_gives_the_same_history(profile: str) -> None:
    def run() -> list[str]:
        server, a, tmp, new = started(profile)
        b = SimHost(server, "b", clock_offset=3600)
        b_tmp = b.open_dir("/tmp")

        def work(host: SimHost, into: int) -> None:
            name = host.random(4).hex()
            put(host, name, into)
            host.sleep(1)
            host.listdir(into)

        tasks = [(a, lambda: work(a, tmp)), (b, lambda: work(b, b_tmp))]
        outcomes = interleave(server, tasks, lambda step, count: step % count)
        assert [error for _, error in outcomes] == [None, None]
        assert a.listdir(new) == []
        return [str(call) for call in server.history]

    first = run()
    assert first == run()
    assert any("a  write" in line for line in first)


def test_hosts_are_switched_at_the_call_that_is_chosen() -> None:
    server, a, tmp, _ = started()
    b = SimHost(server, "b")
    b_tmp = b.open_dir("/tmp")
    server.history.clear()
    tasks = [(a, lambda: put(a, "x", tmp)), (b, lambda: put(b, "y", b_tmp))]
    interleave(server, tasks, lambda step, _: int(step == 2))
    assert "".join(call.host for call in server.history) == "aabbbbaa"


def test_every_host_has_its_own_clock_but_a_server_stamps_the_files() -> None:
    for profile, skew in [("nfs3", 0), ("local", 7200)]:
        server = SimServer(profile)
        a = SimHost(server, clock_offset=7200)
        root = a.open_dir("/")
        fd = a.create("x", root)
        a.write(fd, b"mail")
        assert round(a.stat("x", root).st_mtime - (a.time_ns() / 1e9 - 7200)) == skew
