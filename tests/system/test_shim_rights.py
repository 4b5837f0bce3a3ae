"""Nobody gains a right by a supervisor that is root: what its users cannot do, they cannot do under it.

On a machine whose links are refused to the supervisor and its helpers (tests/shim/refuse.py), so
that every handoff has to be a rename of theirs.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from shim_support import (
    ANN,
    BOB,
    MESSAGE,
    REFUSE,
    RUN,
    as_user,
    build,
    listing,
    maildir,
    need,
    open_path,
    shimmed,
)

from maildir_safe._fs import libc
from maildir_safe._shim.supervisor import Actors

pytestmark = pytest.mark.mounts
NO = errno.EXDEV
SETPRIV = "setpriv --reuid={0} --regid={0} --clear-groups"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("built")))


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("static"), "-static"))


def put(path: Path, owner: int, text: str = "text") -> Path:
    path.write_text(text)
    os.chown(path, owner, owner)
    path.chmod(0o600)
    return path


def names(programs: str, src: Path, dst: Path, *wrap: str, user: int = ANN) -> list[int]:
    """What link and then unlink say to a user's program."""
    done = shimmed(*as_user(user, *wrap, programs, "names", str(src), str(dst)), error=NO)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_a_user_delivers_into_what_is_his(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", ANN)
    assert shimmed(*as_user(ANN, programs, "local", str(box)), error=NO).returncode == 0
    (name,) = listing(box / "new")
    found = (box / "new" / name).stat()
    assert (found.st_uid, found.st_gid, (box / "new" / name).read_bytes()) == (ANN, ANN, MESSAGE)


def test_directories_of_others_stay_closed(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", BOB)
    secret = put(box / "tmp/a", BOB)
    assert names(programs, secret, box / "new/a") == [errno.EACCES, errno.EACCES]
    assert listing(box / "new") == []
    assert secret.exists()


def test_a_directory_that_is_not_writable(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", ANN)
    os.chown(box / "new", 0, 0)
    (box / "new").chmod(0o755)
    put(box / "tmp/a", ANN)
    assert names(programs, box / "tmp/a", box / "new/a") == [errno.EACCES, 0]
    assert listing(box / "new") == []


def test_a_sticky_directory_keeps_others_files(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", 0, 0o1777)
    put(box / "tmp/bobs", BOB)
    assert names(programs, box / "tmp/bobs", box / "new/bobs")[0] in (errno.EPERM, NO, errno.EACCES)
    assert (listing(box / "tmp"), listing(box / "new")) == (["bobs"], [])
    put(box / "tmp/anns", ANN)
    assert names(programs, box / "tmp/anns", box / "new/anns") == [0, 0]


def test_supplementary_groups_count(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", BOB, 0o770)
    put(box / "tmp/a", ANN)
    command = [programs, "names", str(box / "tmp/a"), str(box / "new/a")]
    assert shimmed(*as_user(ANN, *command), error=NO).stdout.split()[0] == str(errno.EACCES).encode()
    many = (77, BOB, *range(5000, 7000))  # more than one read of /proc tells
    done = shimmed(*as_user(ANN, *command, groups=many), error=NO)
    assert done.stdout == b"0 0\n"


def test_root_without_capabilities_is_not_root(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", ANN)
    put(box / "tmp/a", ANN)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
    done = shimmed(*drop, programs, "names", str(box / "tmp/a"), str(box / "new/a"), error=NO)
    assert done.stdout.split()[0] == str(errno.EACCES).encode()
    assert listing(box / "new") == []


def test_what_the_kernels_link_checks_is_checked(programs: str, tmp_path: Path) -> None:
    """A file of another's in a directory of one's own: a rename is one's right, reading it is not needed."""
    box = maildir(tmp_path / "box", ANN)
    put(box / "tmp/a", BOB)
    assert names(programs, box / "tmp/a", box / "new/a") == [0, 0]
    assert (box / "new/a").stat().st_uid == BOB


def test_a_root_in_a_user_namespace_is_only_himself(programs: str, tmp_path: Path) -> None:
    need("unshare")
    box = maildir(tmp_path / "box", BOB)
    put(box / "tmp/a", BOB)
    result = names(programs, box / "tmp/a", box / "new/a", "unshare", "--user", "--map-root-user")
    assert result == [errno.EACCES, errno.EACCES]
    assert listing(box / "tmp") == ["a"]


def test_a_sandboxed_program_is_left_to_the_kernel(programs: str, tmp_path: Path) -> None:
    """It gave up privileges: the kernel makes the link, since only the supervisor is refused here."""
    box = maildir(tmp_path / "box", ANN)
    put(box / "tmp/a", ANN)
    done = shimmed(
        *as_user(ANN, "setpriv", "--no-new-privs", programs, "names", str(box / "tmp/a"), str(box / "new/a")),
        error=NO, options=("--trace",),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"0 0\n", b"")


@pytest.mark.parametrize("what", ["directory", "memory"])
def test_a_path_that_is_swapped_meanwhile(what: str, programs: str, tmp_path: Path) -> None:
    """A thread turns tmp/ into a link to a directory of root's, or rewrites the path, while another links."""
    root = maildir(tmp_path / "root", 0)
    box = maildir(tmp_path / "box", ANN, 0o755)
    for number in range(50):
        put(root / f"tmp/{number}", 0, "secret")
        put(box / f"tmp/{number}", ANN, "own")
    os.symlink(root / "tmp", box / "evil")
    os.chown(box / "evil", ANN, ANN, follow_symlinks=False)
    done = shimmed(*as_user(ANN, programs, "swap", str(box), what, str(root)), error=NO)
    assert done.returncode == 0, done.stderr
    assert len(listing(root / "tmp")) == 50
    assert all((root / f"tmp/{n}").read_text() == "secret" for n in range(50))
    assert all((box / "new" / name).read_text() == "own" for name in listing(box / "new"))
    assert done.stdout.split()[0] != b"0", "no link was ever made: nothing was tried"


def test_a_chroot_is_not_left(static: str, tmp_path: Path) -> None:
    """Absolute names, and absolute symbolic links in them, start at the caller's own root."""
    need("chroot")
    outside = maildir(tmp_path / "box", 0)
    put(outside / "tmp/a", 0, "outside")
    jail = tmp_path / "jail"
    inside = maildir(jail / str(tmp_path).lstrip("/") / "box", ANN)
    put(inside / "tmp/a", ANN, "inside")
    os.symlink(outside, jail / "link")
    program = jail / "programs"
    program.write_bytes(Path(static).read_bytes())
    program.chmod(0o755)
    open_path(inside)
    jail.chmod(0o755)
    command = ["/programs", "names", "/link/tmp/a", f"{outside}/new/a"]
    done = shimmed("chroot", f"--userspec={ANN}:{ANN}", "--groups=", str(jail), *command, error=NO)
    assert done.stdout == b"0 0\n", done.stderr
    assert (inside / "new/a").read_text() == "inside"
    assert listing(outside / "new") == []
    assert (outside / "tmp/a").read_text() == "outside"


def test_a_chroot_into_a_second_mount_of_the_root(static: str, tmp_path: Path) -> None:
    """Device and inode of both roots are the same; what is mounted below only one of them is not."""
    need("unshare")
    open_path(tmp_path / "x")
    outside = maildir(tmp_path / "hidden/box", ANN)
    put(outside / "tmp/a", ANN, "below")
    root, hidden, run = tmp_path / "root", tmp_path / "hidden", " ".join([*RUN, "--"])
    script = (
        f"mkdir {root} && mount --bind / {root} && mount -t tmpfs none {hidden} &&"
        f" mkdir -p {outside}/tmp {outside}/new && echo above > {outside}/tmp/a && chown -R {ANN} {hidden} &&"
        f" exec {run} chroot --userspec={ANN}:{ANN} --groups= {root}"
        f" {static} names {outside}/tmp/a {outside}/new/a"
    )
    words = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run([*REFUSE, str(NO), *words], capture_output=True, timeout=60, check=False)
    assert done.stdout == b"0 0\n", done.stderr
    assert (outside / "new/a").read_text() == "below"


def test_another_mount_namespace(programs: str, tmp_path: Path) -> None:
    """The caller's names are looked up where the caller is."""
    need("unshare")
    real, hidden = maildir(tmp_path / "real", ANN), maildir(tmp_path / "box", ANN)
    script = f"mount --bind {real} {hidden} && exec {SETPRIV.format(ANN)} {programs} local {hidden}"
    done = shimmed("unshare", "--mount", "sh", "-c", script, error=NO, options=("--trace",))
    assert done.returncode == 0, done.stderr
    assert b"renamed" in done.stderr
    assert len(listing(real / "new")) == 1
    assert listing(hidden / "new") == []


def test_setuid_programs_keep_their_privilege(programs: str, tmp_path: Path) -> None:
    """qmail-queue is set-user-ID, and is started with an empty environment."""
    queue = tmp_path / "queue"
    for part in ("", "pid", "intd", "todo", "mess", *(f"mess/{n}" for n in range(23))):
        (queue / part).mkdir()
        os.chown(queue / part, BOB, BOB)
        (queue / part).chmod(0o700)
    setuid = tmp_path / "qmail-queue"
    setuid.write_bytes(Path(programs).read_bytes())
    os.chown(setuid, BOB, BOB)
    setuid.chmod(0o4755)
    open_path(queue)
    done = shimmed(*as_user(ANN, "env", "-i", str(setuid), "queue", str(queue)), error=NO)
    assert done.returncode == 0, done.stderr
    (number,) = listing(queue / "todo")
    assert (queue / "todo" / number).stat().st_uid == BOB


def _anns_helpers() -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path(f"/proc/{entry}/status").read_text()
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if f"Uid:\t{ANN}\t{ANN}\t{ANN}\t{ANN}" in status and b"maildir_safe" in command:
                found.append(int(entry))
    return found


def test_a_users_helper_is_no_way_in_and_may_be_killed(programs: str, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", ANN)
    open_path(box)
    one = f"{programs} local {box}"
    script = f"echo x | {one}; echo ready; read x; sleep 1; echo y | {one}; echo $?"
    words = [*REFUSE, str(NO), *RUN, "--", *as_user(ANN, "sh", "-c", script)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        assert run.stdout.readline() == b"ready\n"
        helper, *others = _anns_helpers()
        spy = f"cd /proc/{helper}; ls fd; cat mem; cat environ; cat maps"
        done = subprocess.run(as_user(ANN, "sh", "-c", spy), capture_output=True, check=False)
        assert done.stdout == b""
        assert done.stderr.count(b"Permission denied") == 4
        capabilities = Path(f"/proc/{helper}/status").read_text()
        for line in ("CapEff:", "CapPrm:", "CapInh:"):
            assert f"{line}\t{0:016x}" in capabilities
        held = {os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd")}
        assert not any("seccomp" in name for name in held), held
        kill = as_user(ANN, "kill", "-9", str(helper), *map(str, others))
        assert subprocess.run(kill, check=False).returncode == 0
        until = time.monotonic() + 10
        while Path(f"/proc/{helper}").exists() and time.monotonic() < until:
            time.sleep(0.01)
        run.stdin.write(b"\n")
        run.stdin.close()
        assert run.stdout.read() == b"0\n"
        assert len(listing(box / "new")) == 2


def test_a_user_cannot_stop_others_by_hanging(programs: str, tmp_path: Path) -> None:
    """Ann stops her helper in the middle; Bob's mail is delivered all the same."""
    ann, bob = maildir(tmp_path / "ann", ANN), maildir(tmp_path / "bob", BOB)
    anns = f"echo x | {SETPRIV.format(ANN)} {programs} local {ann}"
    bobs = f"echo y | {SETPRIV.format(BOB)} {programs} local {bob}"
    script = f"{anns}; echo ready; read x; ({anns}) & sleep 0.5; {bobs}; echo done; wait"
    words = [*REFUSE, str(NO), *RUN, "--", "sh", "-c", script]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        assert run.stdout.readline() == b"ready\n"
        stopped = _anns_helpers()
        assert stopped
        for helper in stopped:
            os.kill(helper, signal.SIGSTOP)
        run.stdin.write(b"\n")
        run.stdin.close()
        assert run.stdout.readline() == b"done\n"
        assert len(listing(bob / "new")) == 1
        for helper in stopped:
            os.kill(helper, signal.SIGCONT)
        run.wait(20)
        assert len(listing(ann / "new")) == 2


MUTANTS = {
    "the helper stays root": "helpers.become = lambda credentials, root: None",
    "everybody is acted for by the supervisor itself": "caller.Credentials.key = lambda self: ()",
    "capabilities in a user namespace are believed": (
        "supervisor.Actors.hides_rights = lambda self, one: setattr("
        "one.credentials, 'capabilities', one.credentials.capabilities & self._me.credentials.capabilities)"
    ),
}
"""What would let Ann move what she must not even see."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_gains_a_right(mutant: str, programs: str, tmp_path: Path) -> None:
    """The tests above can fail: with one guard taken out, a file of Bob's is moved by Ann."""
    box = maildir(tmp_path / "box", BOB)
    put(box / "tmp/a", BOB)
    wrap = ["unshare", "--user", "--map-root-user"] if "namespace" in mutant else []
    code = (
        "import sys\nfrom maildir_safe._shim import caller, helpers, supervisor\n"
        f"{MUTANTS[mutant]}\nfrom maildir_safe._cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = as_user(ANN, *wrap, programs, "names", str(box / "tmp/a"), str(box / "new/a"))
    words = [*REFUSE, str(NO), sys.executable, "-c", code, "run", "--", *command]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.stdout.split()[0] == b"0", (done.stdout, done.stderr)
    assert listing(box / "new") == ["a"]


def test_what_a_user_must_not_see_the_supervisor_does_not_look_at(tmp_path: Path) -> None:
    """Where links work it looks at two directories for a user: in closed ones it must find nothing, either.

    It has its own rights again afterwards, also after an error.
    """
    box = maildir(tmp_path / "box", BOB)
    mine = os.getgroups()
    actors = Actors(SimpleNamespace(), confined=False)  # type: ignore[arg-type]
    for user, found in ((ANN, False), (BOB, True)):
        with actors.seeing_as(user, user) as seen:
            assert seen
            assert os.path.exists(box / "new") is found
        assert (box / "new").exists()
        with pytest.raises(OSError, match="mine"), actors.seeing_as(user, user):
            raise OSError("mine")
        assert (box / "new").exists()
        assert os.getgroups() == mine
    with Actors(None, confined=False).seeing_as(ANN, ANN) as seen:
        assert not seen  # who has no helpers cannot take on other rights


@pytest.mark.parametrize("changed", [False, True])
def test_where_groups_cannot_be_changed(changed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a user namespace that denies setgroups: the supervisor goes on if its own rights are left."""

    def denied(groups: object) -> None:  # noqa: ARG001
        raise PermissionError(errno.EPERM, "denied")

    actors, has = Actors(SimpleNamespace(), confined=False), libc.has_file_system_ids  # type: ignore[arg-type]
    monkeypatch.setattr(libc, "_set_groups", denied)
    if changed:
        monkeypatch.setattr(libc, "has_file_system_ids", lambda uid, gid, groups: not has(uid, gid, groups))
    error: type[Exception] = RuntimeError if changed else PermissionError
    with pytest.raises(error), actors.seeing_as(ANN, ANN):
        pytest.fail("with whose groups?")


def test_a_hundred_at_once_of_one_user(programs: str, tmp_path: Path) -> None:
    """More than there are helpers: the others wait for one, and are not left to the kernel."""
    box = maildir(tmp_path / "box", ANN)
    done = shimmed(*as_user(ANN, programs, "crowd", str(box), "100"), error=NO)
    assert done.returncode == 0
    assert len(listing(box / "new")) == 100
