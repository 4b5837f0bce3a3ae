"""What the supervisor does at its limits: no more threads, descriptors or calls; a kernel that refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shim_cases import HERE, MESSAGE, listing

from maildir_safe._shim import filter as filters, helpers, listener, turns
from maildir_safe._shim.caller import Credentials

FEW_THREADS = """
import os, sys, threading, time
from maildir_safe._shim.answers import Answers
from maildir_safe._shim.launch import Launcher
from maildir_safe._shim.pairs import Pairs
from maildir_safe._shim.report import Report
start, count = threading.Thread.start, 0
def few(thread):
    global count
    count += 1
    if count > 3:  # one that answers, one that watches it, and one that waits for the end
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = few
handle = Answers.handle
Answers.handle = lambda self, question: (time.sleep(0.02), handle(self, question))  # so that more are wanted
status = Launcher(Pairs(), Report()).run(sys.argv[1:])
os._exit(os.waitstatus_to_exitcode(status) if count > 3 else 99)
"""


def test_no_more_threads(dynamic: str, box: Path) -> None:
    """A thread that cannot start another answers its call all the same, and then the next."""
    refuse = [sys.executable, str(HERE / "refuse.py"), str(errno.EPERM)]
    command = [*refuse, sys.executable, "-c", FEW_THREADS, dynamic, "crowd", str(box), "20"]
    done = subprocess.run(command, input=MESSAGE, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(listing(box / "new")) == 20


def test_no_more_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that could not be made is not counted: else there would soon be room for none."""

    def full(*args: object) -> Any:  # noqa: ARG001
        raise OSError(errno.EMFILE, "too many")

    pool = helpers.Helpers(SimpleNamespace(), 0)  # type: ignore[arg-type]
    monkeypatch.setattr(helpers.socket, "socketpair", full)
    who = Credentials((1,) * 4, (1,) * 4, (), 0)
    for _ in range(40):
        with pytest.raises(OSError, match="too many"):
            pool.take(who, None)
    assert pool._busy == {}


def test_a_user_has_so_many_calls() -> None:
    """Root's have no limit."""
    one, most = turns.Turns(0), turns.MOST_OF_A_USER
    for user in (1000, 0):
        got = [one.enter(tid, user) for tid in range(most + 5)]
        assert [turn is not None for turn in got] == [True] * most + [user == 0] * 5
    assert one.enter(3, 1000) is None  # and was begun: it must be left as well
    one.leave(3, 1000)
    for user in (1000, 0):
        for tid in range(most + 5):
            one.leave(tid, user)
    assert (one._in_hand, one._threads) == ({}, {})


def test_a_thread_has_one_turn() -> None:
    """After a signal it may ask again before the first call is answered."""
    one = turns.Turns(0)
    first, again, other = one.enter(7, 0), one.enter(7, 0), one.enter(8, 0)
    assert first is again
    assert other is not first
    one.leave(7, 0)
    assert one.enter(7, 0) is first


def test_an_answer_that_a_signal_interrupts_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the rename the kernel must not be left to repeat the call."""
    said = [errno.EINTR, errno.EINTR, 0, errno.ENOENT, errno.EINVAL]

    def ioctl(*args: object) -> int:  # noqa: ARG001
        if error := said.pop(0):
            raise OSError(error, os.strerror(error))
        return 0

    one = object.__new__(listener.Listener)  # whose constructor asks the kernel
    one.fd = -1
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    question = listener.Question((0,) * 12)
    assert one.answer(question, 0)
    assert not one.answer(question, 0)  # killed
    with pytest.raises(OSError, match="Invalid argument"):
        one.answer(question, 0)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errno.EPERM, "the container's profile must allow it"),
        (errno.ENOSYS, "no seccomp filters"),
        (errno.EBUSY, "only one can run"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_where_seccomp_is_refused(error: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_seccomp", lambda code, flags: (-1, error))  # noqa: ARG005
    with pytest.raises(filters.Unsupported, match=text):
        filters.install(b"")


@pytest.mark.parametrize(
    ("machine", "release", "text"),
    [
        ("riscv64", "6.1.0", "not riscv64"),
        ("x86_64", "5.4.0-150-generic", "needs Linux 5.9 or later, this is 5.4.0-150-generic"),
        ("x86_64", "4.19.0", "needs Linux 5.9"),
    ],
)
def test_where_it_cannot_work(machine: str, release: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine, release=release))
    with pytest.raises(filters.Unsupported, match=text):
        filters.check_kernel()
