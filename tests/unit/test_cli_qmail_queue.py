"""`maildir-safe qmail-queue` as a process, with a real pipe on descriptors 0 and 1."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.spool_support import queued

SCRIPT = (
    "import sys; sys.argv[0] = '/var/qmail/bin/qmail-queue';"
    "from maildir_safe._cli import main; sys.exit(main())"
)
COMMAND = [sys.executable, "-c", SCRIPT]
MESSAGE = b"Received: before\nSubject: one\n\nThe body.\n.\n"


def qmail_queue(envelope: bytes, message: bytes = MESSAGE) -> tuple[int, str]:
    """The exit code and standard error. The envelope is written after the message, as qmail-inject does."""
    reading, writing = os.pipe()
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=reading, stderr=subprocess.PIPE) as process:
        os.close(reading)
        assert process.stdin is not None
        assert process.stderr is not None
        with open(writing, "wb", buffering=0) as envelope_pipe:
            try:
                process.stdin.write(message)
                process.stdin.close()
                envelope_pipe.write(envelope)
            except BrokenPipeError:
                pass  # it has refused the message before the end
        return process.wait(60), process.stderr.read().decode()


@pytest.mark.parametrize(
    ("envelope", "sender", "recipients"),
    [
        (b"Fa@b\0Tc@d\0\0", "a@b", ("c@d",)),
        (b"F\0Tc@d\0Te@f\0Tc@d\0\0", "", ("c@d", "e@f")),
        (b"F#@[]\0Tpostmaster\0\0", "", ("postmaster@here.example",)),
        (b"Fa\0Tj\xc3\xbcrgen@d\0\0", "a@here.example", ("j\xfcrgen@d",)),
    ],
)
def test_a_message_is_queued(spool: Path, envelope: bytes, sender: str, recipients: tuple[str, ...]) -> None:
    assert qmail_queue(envelope) == (0, "")
    ((found_sender, found_recipients, message),) = queued(spool)
    assert (found_sender, found_recipients) == (sender, recipients)
    received = rb"Received: by \S+ \(maildir-safe qmail-queue, from uid \d+\);\n\t.* \+0000\n"
    assert re.fullmatch(received + re.escape(MESSAGE), message)


def test_verp_makes_a_sender_for_each_recipient(spool: Path) -> None:
    """ezmlm sends so; qmail-send puts the recipients in."""
    assert qmail_queue(b"Flist-return-7-@lists.example-@[]\0Ta@b\0Tc@d\0\0") == (0, "")
    assert [item[:2] for item in queued(spool)] == [
        ("list-return-7-a=b@lists.example", ("a@b",)),
        ("list-return-7-c=d@lists.example", ("c@d",)),
    ]


@pytest.mark.parametrize(
    ("code", "envelope"),
    [
        (91, b""),
        (91, b"Fa@b\0\0"),
        (91, b"Fa@b\0Tc@d\0"),  # cut off
        (91, b"Fa@b\0Tc@d"),
        (91, b"Fa@b\0Xc@d\0\0"),
        (91, b"Ta@b\0Tc@d\0\0"),
        (11, b"Fa@b\0T" + b"x" * 1001 + b"\0\0"),
        (31, b"Fa@b\0Tc@d\nX: y\0\0"),
        (31, b"Fa@b\0Tc@d\x1b[2J\0\0"),
        (31, b"Fa@b\0" + b"Tc@d\0" * 10_001 + b"\0"),
    ],
)
def test_envelopes_that_are_refused(spool: Path, code: int, envelope: bytes) -> None:
    found, reason = qmail_queue(envelope)
    assert found == code, reason
    assert reason.startswith("qmail-queue: ")
    assert len(reason.splitlines()) == 1
    assert reason[:-1].isprintable()
    assert queued(spool) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [(31, b"Subject: s\n\n" + b"x" * 100_000), (31, b"Received: x\n" * 100 + b"\n"), (54, b"")],
)
def test_messages_that_are_refused(spool: Path, code: int, message: bytes) -> None:
    assert qmail_queue(b"Fa@b\0Tc@d\0\0", message)[0] == code
    assert queued(spool) == []


def test_descriptors_that_cannot_be_read(spool: Path) -> None:
    for stdin, stdout in ((subprocess.PIPE, subprocess.DEVNULL), (subprocess.DEVNULL, subprocess.PIPE)):
        done = subprocess.run(COMMAND, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 54, done
    assert queued(spool) == []


def test_trouble_with_configuration_and_spool(spool: Path) -> None:
    spool.rename(spool.with_name("away"))
    assert qmail_queue(b"Fa@b\0Tc@d\0\0")[0] == 62
    assert not spool.exists()
    Path(os.environ["MAILDIR_SAFE_SENDMAIL_CONFIG"]).write_text("unknown = 1\n")
    code, reason = qmail_queue(b"Fa@b\0Tc@d\0\0")
    assert code == 55
    assert "'unknown'" in reason


def test_a_full_disk(spool: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); {SCRIPT}"
    reading, writing = os.pipe()
    os.write(writing, b"Fa@b\0Tc@d\0\0")
    os.close(writing)
    done = subprocess.run(
        [sys.executable, "-c", limited],
        input=MESSAGE + b"x" * 90_000, stdout=reading, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(reading)
    assert done.returncode == 53, done
    assert queued(spool) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 71), (signal.SIGINT, 71), (signal.SIGALRM, 52)]
)
def test_a_signal_before_the_put(spool: Path, number: signal.Signals, code: int) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=reading, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.write(MESSAGE)
        process.stdin.close()
        caught = 1 << (signal.SIGALRM - 1)
        while not caught & int(
            re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[0], 16
        ):
            time.sleep(0.01)  # until the process answers signals
        time.sleep(0.2)  # and waits for the envelope
        process.send_signal(number)
        assert process.wait(60) == code
    os.close(reading)
    os.close(writing)
    assert queued(spool) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 71), (signal.SIGHUP, 71), (signal.SIGINT, 71), (signal.SIGALRM, 52)]
)
@pytest.mark.parametrize(
    "loaded",
    ["maildir_safe._cli.qmail_queue", "maildir_safe._submission.qmail", "maildir_safe._submission.settings"],
)
@pytest.mark.parametrize("how", ["import", "class"])
def test_a_signal_while_it_starts(spool: Path, number: int, code: int, loaded: str, how: str) -> None:
    """SIGALRM killed it, or was 81, a bug: while a class is made, Python 3.11 wraps what is raised."""
    script = f"""
import os, sys
class Killed:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), {int(number)})
def kill(event, about):
    if event == "import" and about[0] == {loaded!r}:
        if {how == "class"}:
            type("Made", (), {{"killed": Killed()}})
        else:
            os.kill(os.getpid(), {int(number)})
sys.addaudithook(kill)
sys.argv[0] = "qmail-queue"
from maildir_safe._cli import main; sys.exit(main())
"""
    reading, writing = os.pipe()
    os.write(writing, b"Fa@b\0Tc@d\0\0")
    os.close(writing)
    done = subprocess.run(
        [sys.executable, "-c", script], input=MESSAGE, stdout=reading, stderr=subprocess.PIPE, check=False
    )
    os.close(reading)
    assert done.returncode == code, done.stderr
    assert done.stderr.endswith(b"; nothing is queued\n")
    assert queued(spool) == []
