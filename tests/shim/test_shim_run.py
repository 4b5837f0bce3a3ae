"""`maildir-safe run` with our own programs, by any user, on any file system."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shim_cases import MESSAGE, RUN, listing, names_of, refused

REFUSALS = [
    errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS,
    errno.EMLINK, errno.EIO, errno.EREMOTEIO, errno.EINVAL,
]  # fmt: skip


def _one_message(box: Path) -> None:
    (name,) = listing(box / "new")
    assert (box / "new" / name).read_bytes() == MESSAGE
    assert listing(box / "tmp") == []


@pytest.mark.parametrize("error", REFUSALS, ids=names_of)
def test_qmail_local_delivers_where_links_are_refused(error: int, program: str, box: Path) -> None:
    done = refused(error, program, "local", str(box))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    _one_message(box)


@pytest.mark.parametrize("error", REFUSALS, ids=names_of)
def test_qmail_queue_queues_where_links_are_refused(error: int, program: str, queue: Path) -> None:
    done = refused(error, program, "queue", str(queue))
    assert (done.returncode, done.stderr) == (0, b"")
    (number,) = listing(queue / "todo")
    assert (queue / f"mess/{int(number) % 23}/{number}").read_bytes() == MESSAGE
    assert listing(queue / "pid") == []
    assert listing(queue / "intd") == []


def test_the_harness_does_refuse(dynamic: str, box: Path) -> None:
    """The control: the supervisor's link fails, so that without a rename nothing would be delivered."""
    done = refused(errno.EPERM, dynamic, "local", str(box), options=("--check",))
    assert done.returncode == 111
    assert b"EPERM" in done.stderr
    assert listing(box / "new") == []


def test_other_errors_are_passed_on(dynamic: str, box: Path) -> None:
    for error in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE):
        assert refused(error, dynamic, "local", str(box)).returncode == 111
    assert listing(box / "new") == listing(box / "tmp") == []


def test_where_links_work_they_are_made(dynamic: str, box: Path) -> None:
    done = refused(0, dynamic, "local", str(box), options=("--trace",))
    assert done.returncode == 0
    assert b"renamed" not in done.stderr
    _one_message(box)


@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV], ids=names_of)
def test_a_link_inside_one_directory_is_never_a_rename(error: int, dynamic: str, box: Path) -> None:
    """Without a link of its own, the kernel's answer: a real link, since only the supervisor is refused."""
    (box / "tmp/a").write_text("a")
    done = refused(error, dynamic, "names", str(box / "tmp/a"), str(box / "tmp/b"), options=("--trace",))
    assert done.stdout == b"0 0\n"
    assert b"renamed" not in done.stderr
    assert listing(box / "tmp") == ["b"]


def test_two_contenders_for_a_lock_never_both_have_it(dynamic: str, tmp_path: Path) -> None:
    command = [
        *RUN,
        "--",
        "sh",
        "-c",
        f"{dynamic} lock L 500 & {dynamic} lock L 500 & wait $! ; a=$?; wait; exit $a",
    ]
    assert subprocess.run(command, cwd=tmp_path, timeout=120, check=False).returncode == 0
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("src", "dst"),
    [("tmp/a", "other/a"), ("new/a", "tmp/a"), ("tmp/a", "cur/deep/a"), ("cur/a", "new/a")],
)
def test_directories_that_are_no_pair_are_left_alone(src: str, dst: str, dynamic: str, box: Path) -> None:
    for made in (box / src, box / dst):
        made.parent.mkdir(exist_ok=True, parents=True)
    (box / src).write_text("a")
    done = refused(errno.EPERM, dynamic, "names", str(box / src), str(box / dst))
    assert done.stdout == b"0 0\n"  # the kernel made the link: the supervisor had no hand in it


def test_two_maildirs_are_no_pair(dynamic: str, box: Path, tmp_path: Path) -> None:
    (tmp_path / "other/new").mkdir(parents=True)
    (box / "tmp/a").write_text("a")
    done = refused(
        errno.EPERM, dynamic, "names", str(box / "tmp/a"), str(tmp_path / "other/new/a"), options=("--trace",)
    )
    assert b"renamed" not in done.stderr


def test_more_pairs_can_be_given(dynamic: str, tmp_path: Path) -> None:
    for part in ("drop", "queue/7"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "drop/a").write_text("a")
    names = [str(tmp_path / "drop/a"), str(tmp_path / "queue/7/a")]
    options = ("--pair", "drop:queue/*", "--trace")
    done = refused(errno.EPERM, dynamic, "names", *names, options=options)
    assert done.stdout == b"0 0\n"
    assert b"renamed" in done.stderr
    assert listing(tmp_path / "queue/7") == ["a"]


def test_a_target_that_exists_is_not_replaced(dynamic: str, box: Path) -> None:
    (box / "tmp/a").write_text("mine")
    (box / "new/a").write_text("theirs")
    done = refused(errno.EPERM, dynamic, "names", str(box / "tmp/a"), str(box / "new/a"))
    assert done.stdout == f"{errno.EEXIST} 0\n".encode()
    assert (box / "new/a").read_text() == "theirs"
    assert listing(box / "tmp") == []  # the unlink was real


def test_a_link_whose_reply_was_lost_is_done(dynamic: str, box: Path) -> None:
    (box / "tmp/a").write_text("mine")
    os.link(box / "tmp/a", box / "new/a")
    done = refused(errno.EIO, dynamic, "names", str(box / "tmp/a"), str(box / "new/a"))
    assert done.stdout == b"0 0\n"
    assert (box / "new/a").read_text() == "mine"


def test_a_directory_or_symbolic_link_is_no_message(dynamic: str, box: Path) -> None:
    os.symlink("/etc/passwd", box / "tmp/link")
    (box / "tmp/dir").mkdir()
    for name in ("link", "dir"):
        done = refused(errno.EXDEV, dynamic, "names", str(box / "tmp" / name), str(box / "new" / name))
        assert done.stdout.split()[0] == str(errno.EXDEV).encode()
    assert listing(box / "new") == []


def test_a_ghost_is_good_for_one_unlink(program: str, box: Path) -> None:
    done = refused(errno.EXDEV, program, "twice", str(box))
    assert done.stdout == f"0 {errno.ENOENT} 0 {errno.ENOENT}\n".encode()


def test_a_ghost_is_nobody_elses(dynamic: str, box: Path) -> None:
    """A process that is no relative of the program's unlinks the old name: ENOENT, and the ghost stays."""
    (box / "tmp/a").write_text("a")
    done = refused(errno.EXDEV, dynamic, "again", str(box / "tmp/a"), str(box / "new/a"))
    assert done.stdout == b"0 0\n"


def test_a_shells_ln_and_rm(box: Path) -> None:
    (box / "tmp/a").write_text("a")
    script = f"ln {box}/tmp/a {box}/new/a && rm {box}/tmp/a"
    done = refused(errno.EPERM, "sh", "-c", script, options=("--trace",))
    # coreutils' rm looks at the name first, and minds
    assert listing(box / "new") == ["a"]
    assert b"renamed" in done.stderr


def test_threads_deliver_at_once(program: str, box: Path) -> None:
    assert refused(errno.EPERM, program, "crowd", str(box), "64").returncode == 0
    assert len(listing(box / "new")) == 64
    assert listing(box / "tmp") == []


def test_check_changes_nothing_and_reports(dynamic: str, box: Path) -> None:
    done = refused(errno.EPERM, dynamic, "local", str(box), options=("--check", "--json"))
    assert done.returncode == 111
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    found = [row for row in rows if "dst" in row]
    assert [(row["src"], row["dst"], row["mount"], row["count"]) for row in found] == [
        ("box/tmp/", "box/new/", "EPERM", 1)
    ]
    assert found[0]["advice"] == "handoff tmp:new: would be renamed"
    assert listing(box / "new") == []


def test_check_tells_a_lock_from_a_hand_off(dynamic: str, tmp_path: Path) -> None:
    done = refused(errno.EPERM, dynamic, "lock", str(tmp_path / "L"), "1", options=("--check",))
    assert b"inside one directory, perhaps a lock: never changed" in done.stderr


def test_check_of_a_program_without_links(tmp_path: Path) -> None:
    done = subprocess.run([*RUN, "--check", "--", "true"], cwd=tmp_path, capture_output=True, check=False)
    assert b"does not need the shim" in done.stderr


def test_trace_shows_no_control_characters(dynamic: str, box: Path) -> None:
    evil = box / "tmp" / "a\x1b[2J\n\u202e"
    evil.write_text("a")
    done = refused(errno.EPERM, dynamic, "names", str(evil), str(box / "new/a"), options=("--trace",))
    assert done.stdout == b"0 0\n"
    assert b"\x1b" not in done.stderr
    assert "\u202e".encode() not in done.stderr


class TestTheProgramNoticesNothing:
    @pytest.mark.parametrize("code", [0, 1, 75, 111, 255])
    def test_exit_status(self, code: int) -> None:
        assert subprocess.run([*RUN, "--", "sh", "-c", f"exit {code}"], check=False).returncode == code

    def test_death_by_a_signal(self) -> None:
        done = subprocess.run([*RUN, "--", "sh", "-c", "kill -SEGV $$"], check=False)
        assert done.returncode == -signal.SIGSEGV
        done = subprocess.run([*RUN, "--", "sh", "-c", "kill -KILL $$"], check=False)
        assert done.returncode == -signal.SIGKILL

    def test_signals_reach_it(self) -> None:
        script = "trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
        run = subprocess.Popen([*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE)
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGUSR1)
        assert run.stdout.readline() == b"got\n"
        assert run.wait(20) == 3

    def test_default_signals_and_mask(self) -> None:
        """SIGPIPE is as it was, and nothing is blocked."""
        show = "grep -E 'Sig(Blk|Ign)' /proc/self/status"
        plain = subprocess.run(["sh", "-c", show], capture_output=True, check=False).stdout
        assert (
            subprocess.run([*RUN, "--", "sh", "-c", show], capture_output=True, check=False).stdout == plain
        )

    def test_descriptors_are_its_own(self) -> None:
        read, write = os.pipe()
        show = [sys.executable, "-c", "import os, sys; print(sorted(os.listdir('/proc/self/fd')))"]
        with subprocess.Popen([*RUN, "--", *show], stdout=subprocess.PIPE, pass_fds=[write]) as run:
            os.close(write)
            assert run.stdout is not None
            assert f"'{write}'" in run.stdout.read().decode()
        assert os.read(read, 1) == b""  # the supervisor does not hold it
        os.close(read)

    def test_a_pipe_that_the_program_closes_is_closed(self) -> None:
        """The supervisor of a daemon must not keep its starter waiting for the end of the output."""
        script = "echo started; exec >&- 2>&- <&-; sleep 3"
        began = subprocess.Popen([*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE)
        assert began.stdout is not None
        assert began.stdout.read() == b"started\n"  # end of file while it still runs
        assert began.poll() is None
        began.wait(20)

    def test_privileges_are_given_up_only_where_the_kernel_demands_it(self) -> None:
        """Root's set-user-ID programs go on working; a user's cannot gain anything, and that is said."""
        command = ["grep", "NoNewPrivs", "/proc/self/status"]
        before = subprocess.run(command, capture_output=True, check=False).stdout.split()[1]
        done = subprocess.run([*RUN, "--trace", "--", *command], capture_output=True, check=False)
        expected = before if os.geteuid() == 0 else b"1"
        assert done.stdout.split()[1] == expected
        assert (b"no_new_privs" in done.stderr) is (expected != before)

    def test_environment_and_directory(self, tmp_path: Path) -> None:
        command = [*RUN, "--", "sh", "-c", "pwd; env"]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "X": "y"}, capture_output=True, check=False
        )
        lines = done.stdout.decode().splitlines()
        assert lines[0] == str(tmp_path)
        assert "X=y" in lines

    def test_it_lives_as_long_as_the_last_of_the_tree(self, dynamic: str, box: Path) -> None:
        """A daemon that has left its starter is delivered for, too."""
        script = f"(setsid sh -c 'sleep 0.5; echo x | {dynamic} local {box}' &) ; exit 4"
        done = refused(errno.EPERM, "sh", "-c", script)
        assert done.returncode == 4
        assert len(listing(box / "new")) == 1

    def test_a_signal_after_the_program_ended_reaches_what_it_left(self) -> None:
        script = "setsid sleep 60 & echo ready"
        run = subprocess.Popen([*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE)
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        time.sleep(0.3)  # not for the result: the shell may be signalled as well
        run.send_signal(signal.SIGTERM)
        run.wait(20)


class TestWhatIsWrongWithTheCommand:
    @pytest.mark.parametrize(
        "words",
        [[], ["--"], ["--nonsense", "--", "true"], ["--pair"], ["--pair", "tmp", "--", "true"],
         ["--pair", "tmp:tmp", "--", "true"], ["--pair", "../x:y", "--", "true"], ["--json", "--", "true"],
         ["--", "/nonexistent/program"], ["--", "/etc/passwd"]],
    )  # fmt: skip
    def test_exit_75(self, words: list[str]) -> None:
        done = subprocess.run([*RUN, *words], capture_output=True, check=False)
        assert done.returncode == 75
        assert done.stderr.startswith(b"4.3.5 ")
        assert done.stderr.count(b"\n") == 1

    def test_one_under_another(self) -> None:
        done = subprocess.run([*RUN, "--", *RUN, "--", "true"], capture_output=True, check=False)
        assert done.returncode == 75
        assert b"under a seccomp listener already" in done.stderr

    def test_help(self) -> None:
        done = subprocess.run([*RUN, "--help"], capture_output=True, check=False)
        assert done.returncode == 0
        assert b"usage: maildir-safe run" in done.stdout
