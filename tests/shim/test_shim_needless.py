"""Where links work, the supervisor asks who the caller is once, and never again; and where it must ask."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shim_cases import HERE, MESSAGE, listing

from maildir_safe._fs import libc
from maildir_safe._fs.mounts import MountTypes
from maildir_safe._fs.quirks import quirks
from maildir_safe._shim.calls import AT_FDCWD, LINK, Call
from maildir_safe._shim.needless import Needless

COUNT = 10
# counts how often the supervisor asks; the table of mounts stays as it is, whatever else runs here
COUNTS = """
import os, sys
from maildir_safe._fs.mounts import MountTypes
from maildir_safe._shim import caller
from maildir_safe._shim.launch import Launcher
from maildir_safe._shim.pairs import Pairs
from maildir_safe._shim.report import Report
MountTypes.changed = lambda self: False
asked, begin = set(), caller.Caller.__init__
def count(self, tid, *rest):
    asked.add(tid)
    begin(self, tid, *rest)
caller.Caller.__init__ = count
how = sys.argv[1]
launcher = Launcher(Pairs(), Report(), how == "durable", how == "check", killable=how != "interruptible")
status = launcher.run(sys.argv[2:])
asked.discard(os.getpid())
print(len(asked), file=open(os.environ["ASKED"], "w"))
os._exit(os.waitstatus_to_exitcode(status))
"""


def asked(how: str, program: str, box: Path, error: int = 0) -> int:
    """Deliver some messages, each by a process of its own; how many of these the supervisor looked at."""
    script = f"i=0; while [ $i -lt {COUNT} ]; do {program} local {box} <m || exit; i=$((i+1)); done"
    (box / "m").write_bytes(MESSAGE)
    command = [sys.executable, str(HERE / "refuse.py"), str(error), sys.executable, "-c", COUNTS, how]
    done = subprocess.run(
        [*command, "sh", "-c", script], cwd=box, env={**os.environ, "ASKED": str(box / "asked")},
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(listing(box / "new")) == COUNT
    assert listing(box / "tmp") == []
    return int((box / "asked").read_text())


def is_local(path: Path) -> bool:
    types = MountTypes()
    return not quirks(types.type_of(libc.mount_and_inode(str(path))[0])).replies_get_lost


def test_one_look_is_enough_where_links_work(dynamic: str, box: Path) -> None:
    if not is_local(box):
        pytest.skip("needs a local file system")
    assert asked("plain", dynamic, box) == 1


@pytest.mark.parametrize("how", ["durable", "check", "interruptible"])
def test_what_needs_a_look_at_each(how: str, dynamic: str, box: Path) -> None:
    """What must be synced or reported; and before Linux 5.19, where a link may be asked for twice."""
    assert asked(how, dynamic, box) == COUNT


def test_a_type_alone_is_not_believed(dynamic: str, box: Path) -> None:
    """A local file system on which our own link is refused, for whatever reason: each is renamed."""
    assert asked("plain", dynamic, box, errno.EPERM) == COUNT


class Table:
    """A table of mounts that the test changes."""

    def __init__(self) -> None:
        self.types = {5: "ext4", 6: "fuse.sshfs"}
        self.has_changed = False

    def changed(self) -> bool:
        seen, self.has_changed = self.has_changed, False
        return seen

    def type_of(self, mount: int) -> str:
        return self.types.get(mount, "")


@pytest.fixture
def needless() -> Needless:
    one = Needless()
    one._types = Table()  # type: ignore[assignment]
    return one


def test_a_number_of_a_mount_may_get_another_meaning(needless: Needless) -> None:
    table: Any = needless._types
    assert not needless.known(5)
    needless.learn(5)
    assert needless.known(5)
    table.types[5], table.has_changed = "fuse.sshfs", True
    assert not needless.known(5)
    needless.learn(5)
    assert not needless.known(5)


@pytest.mark.parametrize("mount", [6, 7])
def test_where_replies_get_lost_or_nothing_is_known(mount: int, needless: Needless) -> None:
    needless.learn(mount)
    assert not needless.known(mount)


def test_what_is_known_is_bounded(needless: Needless) -> None:
    for mount in range(3000):
        needless.learn(mount)
    assert len(needless._links) <= 1024


def link(*paths: str) -> Call:
    return Call("link", LINK, [(AT_FDCWD, 0) for _ in paths], 0)


def test_the_mount_of_both_directories(
    needless: Needless, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, (mount, _) = os.getpid(), libc.mount_and_inode(str(box))
    monkeypatch.chdir(box)
    for paths in (["tmp/a", "new/a"], [f"{box}/tmp/a", "new/a"], ["a", f"{box}/new/a"]):
        assert needless.mount(me, link(*paths), paths) == mount
    for paths in (["/proc/a", "new/a"], ["tmp/a", "gone/a"], ["tmp/a", "new/" + 4090 * "/" + "a"]):
        assert needless.mount(me, link(*paths), paths) is None
    fd = os.open("new", os.O_PATH)
    call = Call("linkat", LINK, [(AT_FDCWD, 0), (fd, 0)], 0)
    assert needless.mount(me, call, ["tmp/a", "a"]) == mount
    os.close(fd)
    assert needless.mount(me, call, ["tmp/a", "a"]) is None


def test_another_root_is_not_believed(needless: Needless) -> None:
    needless._root = (0, 0)
    assert needless.mount(os.getpid(), link("/a", "/b"), ["/a", "/b"]) is None


def test_a_table_that_cannot_be_read(needless: Needless, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(mount: int) -> str:  # noqa: ARG001
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(needless._types, "type_of", full)
    needless.learn(5)
    assert not needless.known(5)


def test_the_kernels_own_table() -> None:
    types = MountTypes()
    with open("/proc/self/mountinfo") as table:
        rows = {int(line.split()[0]): line.split(" - ")[1].split()[0] for line in table}
    some = rows.popitem()
    assert types.type_of(some[0]) in (some[1], "")  # others may unmount it
    assert types.type_of(-1) == ""


@pytest.mark.parametrize("number", [libc._SYS_OPENAT2, 1 << 20], ids=["openat2", "without"])
def test_directories_are_opened(number: int, box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where openat2 is not known: then not even the way through /proc can be told from others."""
    monkeypatch.setattr(libc, "_SYS_OPENAT2", number)
    monkeypatch.chdir(box)
    fd = libc.open_directory(str(box), None)
    try:
        below = libc.open_directory("new", fd)
        assert os.fstat(below).st_ino == (box / "new").stat().st_ino
        os.close(below)
        for path, error in (("gone", errno.ENOENT), ("m", errno.ENOTDIR)):
            (box / "m").touch()
            with pytest.raises(OSError, match=os.strerror(error)):
                libc.open_directory(path, fd)
    finally:
        os.close(fd)
    if number != 1 << 20:
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            libc.open_directory("/proc/self/cwd/new", None)


def test_a_kernel_that_tells_no_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "_STATX_MNT_ID", 1 << 30)
    with pytest.raises(OSError, match="does not tell mounts"):
        libc.mount_and_inode("/")
