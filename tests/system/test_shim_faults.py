"""The shim on a mount that refuses links, loses replies, fails and hangs; and what is killed meanwhile."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shim_support import MESSAGE, RUN, build, listing, need

from benchmarks.mounts.stage import wait_until
from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("built")))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FaultMount]:
    for part in ("tmp", "new", "cur"):
        (tmp_path / "backing/box" / part).mkdir(parents=True)
    for part in ("pid", "intd", "todo", *(f"mess/{n}" for n in range(23))):
        (tmp_path / "backing/queue" / part).mkdir(parents=True)
    with FaultMount(tmp_path / "backing") as mount:
        yield mount


def run(*words: str, options: tuple[str, ...] = ()) -> int:
    command = [*RUN, *options, "--", *words]
    return subprocess.run(command, input=MESSAGE, capture_output=True, timeout=120, check=False).returncode


def copies(mount: FaultMount) -> int:
    new = mount.backing / "box/new"
    assert all((new / name).read_bytes() == MESSAGE for name in listing(new))
    return len(listing(new))


def no_links(mount: FaultMount, error: int = errno.EPERM) -> None:
    mount.inject("link", error, times=None)


def test_the_control(mount: FaultMount, programs: str) -> None:
    no_links(mount)
    done = subprocess.run([programs, "local", str(mount.path / "box")], input=MESSAGE, check=False)
    assert done.returncode == 111


@pytest.mark.parametrize("executed", [False, True], ids=["not-done", "but-done"])
@pytest.mark.parametrize(
    "error", [errno.EIO, errno.ETIMEDOUT, errno.ENOENT, errno.ENOTCONN], ids=errno.errorcode.get
)
def test_one_bad_reply_to_the_rename(error: int, executed: bool, mount: FaultMount, programs: str) -> None:
    """Whatever the rename says, the program is told the truth: done, once."""
    no_links(mount)
    mount.inject("rename", error, executed=executed)
    assert run(programs, "local", str(mount.path / "box")) == 0
    assert mount.fired("rename")
    assert copies(mount) == 1
    assert listing(mount.backing / "box/tmp") == []


def test_the_first_three_renames_are_refused(mount: FaultMount, programs: str) -> None:
    no_links(mount)
    mount.inject("rename", errno.EIO, times=3)
    assert run(programs, "local", str(mount.path / "box")) == 0
    assert len(mount.fired("rename")) == 3
    assert copies(mount) == 1


def test_a_slow_rename(mount: FaultMount, programs: str) -> None:
    no_links(mount)
    mount.inject("rename", delay=3.0)
    assert run(programs, "local", str(mount.path / "box")) == 0
    assert copies(mount) == 1


def test_a_rename_that_hangs_does_not_hold_up_others(
    mount: FaultMount, programs: str, tmp_path: Path
) -> None:
    """On another mount: on the same one the kernel itself lets only one such rename at a time through."""
    no_links(mount)
    mount.inject("rename", name="box/*", held=True)
    for part in ("tmp", "new"):
        (tmp_path / "other/box" / part).mkdir(parents=True)
    with FaultMount(tmp_path / "other") as other:
        no_links(other)
        script = (
            f"echo x | {programs} local {mount.path}/box & read go;"
            f" echo y | {programs} local {other.path}/box; echo done $?; wait"
        )
        words = [*RUN, "--", "sh", "-c", script]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            wait_until(lambda: bool(mount.fired("rename")), "the rename", 60)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"done 0\n"
            assert process.poll() is None
            mount.release()
            assert process.wait(60) == 0
        assert len(listing(mount.backing / "box/new")) == len(listing(other.backing / "box/new")) == 1


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS], ids=errno.errorcode.get)
def test_a_rename_that_is_refused_for_good(error: int, mount: FaultMount, programs: str) -> None:
    """The program is told so, its file is where it was, and nothing appears later."""
    no_links(mount)
    mount.inject("rename", error, times=None)
    assert run(programs, "local", str(mount.path / "box")) == 111
    assert copies(mount) == 0
    assert listing(mount.backing / "box/tmp") == []  # the program has removed it


def test_a_rename_that_is_executed_late_is_withdrawn(mount: FaultMount, programs: str) -> None:
    """A soft mount gives each up, to execute it later: by then it must have nothing to rename."""
    no_links(mount)
    mount.inject("rename", errno.EIO, name="box/new/*", executed="late", times=None)
    assert run(programs, "local", str(mount.path / "box")) == 111
    assert all(mount.release()), "a late rename took effect after its program was told that it failed"
    assert copies(mount) == 0
    assert listing(mount.backing / "box/tmp") == []


def test_a_link_whose_reply_is_lost_where_links_work(mount: FaultMount, programs: str) -> None:
    mount.inject("link", errno.EIO, executed=True)
    assert run(programs, "local", str(mount.path / "box")) == 0
    assert mount.fired("link")
    assert copies(mount) == 1
    assert listing(mount.backing / "box/tmp") == []


@pytest.mark.parametrize("flags", [(), ("-static",)], ids=["dynamic", "static"])
def test_programs_with_musl(flags: tuple[str, ...], mount: FaultMount, tmp_path: Path) -> None:
    """Nothing depends on the program's C library."""
    program = str(build(tmp_path, *flags, compiler="musl-gcc"))
    no_links(mount)
    assert run(program, "local", str(mount.path / "box")) == 0
    assert run(program, "queue", str(mount.path / "queue")) == 0
    assert copies(mount) == 1
    (number,) = listing(mount.backing / "queue/todo")
    assert (mount.backing / f"queue/mess/{int(number) % 23}/{number}").read_bytes() == MESSAGE
    assert listing(mount.backing / "queue/pid") == listing(mount.backing / "queue/intd") == []


def test_links_that_worked_are_not_believed_to_work_for_ever(mount: FaultMount, programs: str) -> None:
    """One kernel's own file system would be left alone after the first message; a server's never is."""
    mount.inject("link")  # the first is made
    mount.inject("link", errno.EIO, executed=True)
    no_links(mount)
    (mount.backing / "m").write_bytes(MESSAGE)
    one = f"{programs} local {mount.path}/box <{mount.backing}/m"
    assert run("sh", "-c", f"{one} && {one} && {one}") == 0
    assert len(mount.fired("link")) == 3
    assert copies(mount) == 3
    assert listing(mount.backing / "box/tmp") == []


def test_a_mount_that_only_the_caller_sees(mount: FaultMount, programs: str, tmp_path: Path) -> None:
    """The same paths, but in a mount namespace of its own, where what is mounted there refuses links."""
    need("unshare")
    no_links(mount)
    box = tmp_path / "disk/box"
    for part in ("tmp", "new", "cur"):
        (box / part).mkdir(parents=True)
    one = f"{programs} local {box}"
    (tmp_path / "m").write_bytes(MESSAGE)
    inside = f"mount --bind {mount.path}/box {box} && {one} <{tmp_path}/m"
    script = f"{one} <{tmp_path}/m && {one} <{tmp_path}/m && unshare --mount sh -c '{inside}'"
    assert run("sh", "-c", script) == 0
    assert (len(listing(box / "new")), copies(mount)) == (2, 1)


def test_an_unlink_that_fails_is_told(mount: FaultMount, programs: str) -> None:
    """A ghost answers for a name that is gone, not for a mount that fails."""
    no_links(mount)
    mount.inject("unlink", errno.EIO, name="queue/pid/*")
    assert run(programs, "queue", str(mount.path / "queue")) in (0, 63)


class TestDurable:
    def test_the_directory_is_synced_before_the_program_is_told(
        self, mount: FaultMount, programs: str
    ) -> None:
        no_links(mount)
        mount.inject("fsyncdir", name="box/new")  # reports nothing, and counts
        assert run(programs, "local", str(mount.path / "box"), options=("--durable",)) == 0
        assert mount.fired("fsyncdir")
        assert copies(mount) == 1

    def test_where_links_work_too(self, mount: FaultMount, programs: str) -> None:
        mount.inject("fsyncdir", name="box/new")
        assert run(programs, "local", str(mount.path / "box"), options=("--durable",)) == 0
        assert mount.fired("fsyncdir")

    def test_not_unless_asked(self, mount: FaultMount, programs: str) -> None:
        mount.inject("fsyncdir", name="*", times=None)
        assert run(programs, "local", str(mount.path / "box")) == 0
        assert not mount.fired("fsyncdir")

    def test_the_programs_own_rename(self, mount: FaultMount) -> None:
        (mount.backing / "box/tmp/a").write_bytes(MESSAGE)
        mount.inject("fsyncdir", name="box/new")
        assert run("mv", f"{mount.path}/box/tmp/a", f"{mount.path}/box/new/a", options=("--durable",)) == 0
        assert mount.fired("fsyncdir")
        assert copies(mount) == 1

    @pytest.mark.parametrize("link", [None, errno.EPERM], ids=["links", "no-links"])
    def test_a_failed_fsync_is_told(self, link: int | None, mount: FaultMount, programs: str) -> None:
        if link:
            no_links(mount, link)
        mount.inject("fsyncdir", errno.EIO, name="box/new")
        assert run(programs, "local", str(mount.path / "box"), options=("--durable",)) == 111
        assert mount.fired("fsyncdir")

    def test_a_mount_without_it(self, mount: FaultMount, programs: str) -> None:
        no_links(mount)
        mount.inject("fsyncdir", errno.EINVAL, times=None)
        assert run(programs, "local", str(mount.path / "box"), options=("--durable",)) == 0
        assert copies(mount) == 1


CALLS = ["link", "rename", "fsyncdir"]


class TestKilled:
    """Something is killed while the mount has a call of the shim's in hand, done or not done."""

    def _begin(
        self, mount: FaultMount, programs: str, call: str, done: bool
    ) -> tuple[subprocess.Popen[bytes], int]:
        if call != "link":
            no_links(mount)
        name = {"link": "box/new/*", "rename": "box/new/*", "fsyncdir": "box/new"}[call]
        mount.inject(call, None if done else errno.EIO, name=name, held=True)
        command = [*RUN, "--durable", "--", programs, "local", str(mount.path / "box")]
        run = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert run.stdin is not None
        run.stdin.write(MESSAGE)
        run.stdin.close()
        until = time.monotonic() + 60
        while not mount.fired(call) and time.monotonic() < until and run.poll() is None:
            time.sleep(0.02)
        assert mount.fired(call), f"the shim never came to {call}"
        (child,) = (pid for pid in _children(run.pid) if _command(pid) == "programs")
        return run, child

    @pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
    @pytest.mark.parametrize("call", CALLS)
    def test_the_program(self, call: str, done: bool, mount: FaultMount, programs: str) -> None:
        run, child = self._begin(mount, programs, call, done)
        os.kill(child, 9)
        mount.release()
        assert run.wait(60) == -9
        mount.clear()
        self._look(mount)

    @pytest.mark.parametrize("done", [True, False], ids=["done", "not-done"])
    @pytest.mark.parametrize("call", CALLS)
    def test_the_supervisor(self, call: str, done: bool, mount: FaultMount, programs: str) -> None:
        run, child = self._begin(mount, programs, call, done)
        with open(f"/proc/{child}/status") as status:
            assert "State:" in status.read()
        os.kill(run.pid, 9)
        mount.release()
        run.wait(60)
        until = time.monotonic() + 60
        while os.path.exists(f"/proc/{child}") and time.monotonic() < until:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{child}"), "the program hangs without its supervisor"
        mount.clear()
        self._look(mount)

    def _look(self, mount: FaultMount) -> None:
        """Not lost and not doubled: at most one copy is delivered, and the message is somewhere, whole."""
        assert copies(mount) <= 1
        places = [
            mount.backing / "box" / part / name for part in ("tmp", "new") for name in _names(mount, part)
        ]
        assert places
        assert all(place.read_bytes() == MESSAGE for place in places)


PAUSES = """
import os, sys
os.chdir(sys.argv[1])
os.link("tmp/a", "new/a")
print("linked", flush=True)
sys.stdin.readline()
try:
    os.unlink("tmp/a")
except OSError as error:
    print(error.errno, flush=True)
else:
    print("unlinked", flush=True)
"""


class TestKilledInTheUnlink:
    """The same while the mount looks for the old name, to answer the program's unlink: it is long gone."""

    @pytest.mark.parametrize("error", [errno.ENOENT, errno.EIO], ids=errno.errorcode.get)
    @pytest.mark.parametrize("who", ["program", "supervisor", "nobody"])
    def test_of_a_ghost(self, who: str, error: int, mount: FaultMount) -> None:
        no_links(mount)
        (mount.backing / "box/tmp/a").write_bytes(MESSAGE)
        command = [*RUN, "--", sys.executable, "-c", PAUSES, str(mount.path / "box")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            assert run.stdout.readline() == b"linked\n"
            (child,) = (pid for pid in _children(run.pid) if _words(pid)[1] == b"-c")
            mount.inject("stat", error, name="box/tmp/a", held=True)
            run.stdin.write(b"\n")
            run.stdin.flush()
            until = time.monotonic() + 60
            while not mount.fired("stat") and time.monotonic() < until:
                time.sleep(0.02)
            assert mount.fired("stat"), "nobody looked for the old name"
            if who != "nobody":
                os.kill(child if who == "program" else run.pid, 9)
            mount.release()
            said = run.stdout.read()
            assert run.wait(60) == (0 if who == "nobody" else -9)
        told = {"program": b"", "supervisor": b"%d\n" % errno.ENOSYS, "nobody": b"unlinked\n"}[who]
        assert said == (b"%d\n" % errno.EIO if error == errno.EIO and who == "nobody" else told)
        assert copies(mount) == 1
        assert listing(mount.backing / "box/tmp") == []


def _words(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _names(mount: FaultMount, part: str) -> list[str]:
    return listing(mount.backing / "box" / part)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_the_supervisor_dies_before_it_is_asked(tmp_path: Path, programs: str) -> None:
    """Caught calls fail with ENOSYS: the program reports failure, and keeps the mail. Nothing hangs."""
    for part in ("tmp", "new"):
        (tmp_path / part).mkdir()
    run = subprocess.Popen([*RUN, "--", programs, "local", str(tmp_path)], stdin=subprocess.PIPE)
    assert run.stdin is not None
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [pid for pid in _children(run.pid) if _command(pid) == "programs"]
        if found:
            break
        time.sleep(0.02)
    child = found[0]
    reader = os.pidfd_open(child)
    os.kill(run.pid, 9)
    run.wait(60)
    run.stdin.write(MESSAGE)
    run.stdin.close()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    assert poll.poll(60_000), "the program hangs without its supervisor"
    os.close(reader)
    assert listing(tmp_path / "new") == []


MAKES_NEW_MEANWHILE = """
import errno, os, sys, threading, time
box, seen = sys.argv[1], set()
for number in range(200):
    os.rmdir(f"{box}/new")
    with open(f"{box}/tmp/{number}", "w") as file:
        file.write("x")
    tried = threading.Event()
    def make():
        if number:
            time.sleep(number % 20 * 0.0001)
        else:
            tried.wait()
        os.mkdir(f"{box}/new")
    other = threading.Thread(target=make)
    other.start()
    if number == 1:
        other.join()
    try:
        os.link(f"{box}/tmp/{number}", f"{box}/new/{number}")
        seen.add("linked")
    except OSError as error:
        seen.add(errno.errorcode[error.errno])
    tried.set()
    other.join()
    for name in (f"{box}/tmp/{number}", f"{box}/new/{number}"):
        if os.path.exists(name):
            os.unlink(name)
print(*sorted(seen))
"""


def test_a_directory_that_is_made_meanwhile(mount: FaultMount) -> None:
    """Postfix makes new/ if link says ENOENT. The kernel's own link would say EIO once new/ is there."""
    no_links(mount, errno.EIO)
    command = [*RUN, "--", sys.executable, "-c", MAKES_NEW_MEANWHILE, str(mount.path / "box")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["ENOENT", "linked"]
