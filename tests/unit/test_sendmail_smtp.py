"""`sendmail -bs`: SMTP on standard input and output."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli_sendmail import SCRIPT, sendmail

from maildir_safe import Queue
from tests.spool_support import queued

DIALOGUE = (
    b"EHLO client\r\nMAIL FROM:<ann>\r\nRCPT TO:<bob>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
    b"Subject: hello\r\n\r\n..dot\r\n.\r\nQUIT\r\n"
)


def codes(output: bytes) -> list[bytes]:
    return [line[:3] for line in output.splitlines() if line[3:4] != b"-"]


def start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT.format("/usr/sbin/sendmail"), "-bs"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_dialogue(spool: Path) -> None:
    done = sendmail("-bs", stdin=DIALOGUE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert codes(done.stdout) == [b"220", b"250", b"250", b"250", b"250", b"354", b"250", b"221"]
    ((sender, recipients, message),) = queued(spool)
    assert (sender, recipients) == ("ann@here.example", ("bob@here.example", "c@d"))
    assert message.startswith(b"Received: from client ")
    assert message.endswith(b"\n\n.dot\n")
    for field in (b"\nFrom: ann@here.example\n", b"\nDate: ", b"\nMessage-ID: <"):
        assert message.count(field) == 1


def test_standard_input_may_be_a_file_and_end_without_quit(spool: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DIALOGUE.removesuffix(b"QUIT\r\n"))
    with (tmp_path / "in").open("rb") as file, (tmp_path / "out").open("wb") as out:
        command = [sys.executable, "-c", SCRIPT.format("/usr/sbin/sendmail"), "-bs"]
        assert subprocess.run(command, stdin=file, stdout=out, check=False).returncode == 0
    assert codes((tmp_path / "out").read_bytes())[-1] == b"250"
    assert len(queued(spool)) == 1


def test_a_message_that_is_cut_off_is_not_queued(spool: Path) -> None:
    done = sendmail("-bs", stdin=DIALOGUE.partition(b".\r\nQUIT")[0].removesuffix(b"\r\n"))
    assert done.returncode == 0
    assert codes(done.stdout)[-1] == b"354"
    assert queued(spool) == []


@pytest.mark.parametrize(
    ("dialogue", "code"),
    [
        (DIALOGUE.replace(b"hello", b"x" * 120_000), b"552"),  # size_limit
        (DIALOGUE.replace(b"Subject", b"Received: x\r\n" * 100 + b"Subject"), b"554"),
        (DIALOGUE.replace(b"DATA\r\n", b"RCPT TO:<prog>\r\nDATA\r\n"), b"550"),
    ],
)
def test_what_is_refused(spool: Path, dialogue: bytes, code: bytes) -> None:
    (spool.parent / "aliases").write_text("prog: |cat\n")
    with (spool.parent / "sendmail.toml").open("a") as file:
        file.write(f'aliases = "{spool.parent}/aliases"\n')
    done = sendmail("-bs", stdin=dialogue)
    assert code in codes(done.stdout)
    assert len(queued(spool)) == (code == b"550")  # for the others


def test_without_a_spool_nothing_is_said_and_the_exit_code_is_75(spool: Path) -> None:
    spool.rename(spool.with_name("away"))
    done = sendmail("-bs", stdin=DIALOGUE)
    assert (done.returncode, done.stdout) == (75, b"")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_says_goodbye(spool: Path, number: signal.Signals) -> None:
    process = start()
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline().startswith(b"220")
    process.stdin.write(DIALOGUE.removesuffix(b"QUIT\r\n"))
    process.stdin.flush()
    while not (line := process.stdout.readline()).startswith(b"250 2.0.0 Queued"):
        assert line
    process.send_signal(number)
    assert process.wait(60) == 75
    assert process.stdout.read().startswith(b"421")
    assert len(queued(spool)) == 1
    process.stdin.close()
    process.stdout.close()
    assert process.stderr
    process.stderr.close()


def test_dsn_and_the_size_are_offered(spool: Path) -> None:
    done = sendmail("-bs", stdin=DIALOGUE.replace(b"bob>", b"bob> NOTIFY=NEVER"))
    assert b"250-SIZE 100000\r\n" in done.stdout
    assert b"DSN\r\n" in done.stdout
    queue = Queue(spool, create=False)
    (entry,) = queue.items()
    found = queue.envelope(entry)
    assert found is not None
    assert not found.wants("bob@here.example", "FAILURE")
    assert found.wants("c@d", "FAILURE")
