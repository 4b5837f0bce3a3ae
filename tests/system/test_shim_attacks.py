"""What a user's program may try against a supervisor of root's, beside reaching for files (test_shim_rights).

Each of these let a user stop or mislead the shim of others, or could have.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from shim_support import ANN, BOB, MESSAGE, REFUSE, RUN, as_user, build, listing, maildir, need, shimmed

from maildir_safe._shim import caller as callers

pytestmark = pytest.mark.mounts
NO = 18  # EXDEV
PYTHON = "/usr/bin/python3"

LANDLOCK = "import ctypes; ctypes.CDLL(None).syscall(446, -1, 0)"
UNDUMPABLE = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print(flush=True); input()"
POINTERS = """
import ctypes, mmap, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
libc.mmap.restype = ctypes.c_void_p
start = libc.mmap(None, ctypes.c_size_t(2 * page), 3, 0x22, -1, ctypes.c_long(0))
libc.munmap(ctypes.c_void_p(start + page), ctypes.c_size_t(page))

def link(src, dst):
    result = libc.link(ctypes.c_void_p(src), ctypes.c_void_p(dst))
    print(ctypes.get_errno() if result else 0)

def at_the_end(text):
    address = start + page - len(text)
    ctypes.memmove(address, text, len(text))
    return address

long = ctypes.create_string_buffer(b"new/" + b"x" * 4096)
new = ctypes.create_string_buffer(b"new/a")
link(at_the_end(b"tmp/a\\0"), ctypes.addressof(new))  # its last byte is the page's last
link(at_the_end(b"tmp/b"), ctypes.addressof(new))  # no end before the page's
link(start + page, ctypes.addressof(new))  # must not be read
link(8, 16)
link((1 << 64) - 4096, 1 << 63)
link(at_the_end(b"tmp/b\\0"), ctypes.addressof(long))
link(at_the_end(b"\\0"), ctypes.addressof(new))
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("built")))


def test_one_users_landlock_ends_the_shim_for_nobody_else(programs: str, tmp_path: Path) -> None:
    """The call even fails, since Ann has no no_new_privs; Bob's mail is renamed all the same."""
    box = maildir(tmp_path / "box", BOB)
    ann = " ".join(as_user(ANN, PYTHON, "-c", f"'{LANDLOCK}'"))
    bob = " ".join(as_user(BOB, programs, "local", str(box)))
    done = shimmed("sh", "-c", f"{ann} </dev/null; {bob}", error=NO, options=("--trace",))
    assert done.returncode == 0
    assert f"every call of user {ANN} is left to the kernel".encode() in done.stderr
    assert b"renamed" in done.stderr
    assert len(listing(box / "new")) == 1


@pytest.mark.parametrize("user", [ANN, 0])
def test_who_may_be_in_a_sandbox_is_left_alone(user: int, programs: str, tmp_path: Path) -> None:
    """After the call by Ann, hers; after one by root, who may become anybody, everybody's."""
    box = maildir(tmp_path / "box", ANN)
    first = " ".join(as_user(user, PYTHON, "-c", f"'{LANDLOCK}'"))
    ann = " ".join(as_user(ANN, programs, "local", str(box)))
    done = shimmed("sh", "-c", f"{first} </dev/null; {ann}", error=NO, options=("--trace",))
    assert done.returncode == 0
    assert b"renamed" not in done.stderr  # the kernel made the link


def test_a_process_that_nobody_may_inspect_counts_as_its_users() -> None:
    """Most of its files in /proc are root's then, whose calls have no limit."""
    command = as_user(ANN, PYTHON, "-c", UNDUMPABLE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"\n"
        assert Path(f"/proc/{run.pid}/status").stat().st_uid == 0
        assert callers.user(run.pid) == (ANN, ANN)
        run.communicate(b"\n")


def test_pointers(tmp_path: Path) -> None:
    """A path at the very end of readable memory counts; what the kernel refuses, it goes on refusing."""
    box = maildir(tmp_path / "box", ANN)
    for name in "ab":
        (box / "tmp" / name).write_text(name)
        os.chown(box / "tmp" / name, ANN, ANN)
    script = tmp_path / "pointers.py"
    script.write_text(POINTERS)
    command = as_user(ANN, PYTHON, str(script), str(box))
    done = shimmed(*command, error=NO, options=("--trace",))
    assert done.stdout.split() == b"0 14 14 14 14 36 2".split(), done.stderr
    assert done.stderr.count(b"renamed") == 1
    assert (listing(box / "tmp"), listing(box / "new")) == (["b"], ["a"])


@pytest.mark.parametrize("user", [0, ANN])
@pytest.mark.parametrize("way", ["/proc/self/cwd", "here", "/proc/thread-self/cwd", "shared/here"])
def test_paths_that_each_process_sees_otherwise(way: str, user: int, programs: str, tmp_path: Path) -> None:
    """/proc/self is the program's own, also where the supervisor or a helper looks up for it.

    Their own working directory is another.
    """
    box = maildir(tmp_path / "box", user)
    (box / "here").symlink_to("/proc/self/cwd")
    (box / "shared").symlink_to(box)
    (box / "tmp/a").write_bytes(MESSAGE)
    os.chown(box / "tmp/a", user, user)
    words = as_user(user, programs, "names", f"{way}/tmp/a", f"{way}/new/a")
    command = [*REFUSE, str(NO), *RUN, "--trace", "--", *words]
    done = subprocess.run(command, cwd=box, capture_output=True, check=False)
    assert done.stdout == b"0 0\n", done.stderr
    assert done.stderr == b""  # the kernel made the link
    assert listing(box / "new") == ["a"]


def test_the_proc_of_another_process_namespace() -> None:
    """There the kernel's numbers would mean other processes: nothing is started."""
    need("unshare")
    words = ["unshare", "--pid", "--fork", *RUN, "--", "echo", "started"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 75
    assert done.stdout == b""
    assert b"the shim needs /proc, mounted in the process namespace" in done.stderr
    words[2:2] = ["--mount-proc"]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"started\n"


def test_a_helper_cannot_be_traced(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", ANN)
    script = f"{programs} local {box} </dev/null; echo ready; read x"
    words = [*REFUSE, str(NO), *RUN, "--", *as_user(ANN, "sh", "-c", script)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_anns_helper(pid)]
        assert found
        attach = "import ctypes, sys; print(ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), None, None))"
        for pid in found:
            done = subprocess.run(
                as_user(ANN, PYTHON, "-c", attach, str(pid)), capture_output=True, check=True
            )
            assert done.stdout == b"-1\n"
        run.communicate(b"\n", timeout=30)


def _is_anns_helper(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"maildir_safe" in command and callers.user(pid)[0] == ANN
    except OSError:
        return False


GROUP = 77


@pytest.mark.parametrize("how", [f"--regid={GROUP} --clear-groups", f"--regid=0 --groups={GROUP}"])
def test_groups_are_the_callers_own(how: str, programs: str, tmp_path: Path) -> None:
    """Where only they differ the supervisor acts itself, with the caller's, and has its own again afterwards.

    It has no capability that would make groups meaningless.
    """
    box = maildir(tmp_path / "box", BOB, 0o770)
    for part in (box, *box.iterdir()):
        os.chown(part, BOB, GROUP)
    for name in "abc":
        (box / "tmp" / name).write_text(name)
        os.chown(box / "tmp" / name, 0, 0)
    one = f"{programs} names {box}/tmp/%s {box}/new/%s"
    script = "; ".join((one % ("a", "a"), f"setpriv {how} {one}" % ("b", "b"), one % ("c", "c")))
    weak = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    words = [*REFUSE, str(NO), *weak, *RUN, "--trace", "--", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.stdout == b"13 13\n0 0\n13 13\n", done.stderr
    assert done.stderr.count(b"renamed") == 1
    assert listing(box / "new") == ["b"]
