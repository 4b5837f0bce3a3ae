"""SIGHUP, as a terminal or a supervisor sends it at any moment: it kills no command that holds mail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from smtp_support import until

from maildir_safe import Maildir, Queue

MESSAGE = b"Subject: hello\n\nworld\n"
SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


def command(loaded: str, number: int = signal.SIGHUP) -> list[str]:
    """The command; it gets the signal when it loads a module."""
    script = f"""
import os, sys
class Killer:
    def find_spec(self, name, *_):
        if name == {loaded!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Killer())
from maildir_safe._cli import main; sys.exit(main())
"""
    return [sys.executable, "-c", script]


@contextmanager
def unignored() -> Iterator[None]:
    """A child starts with SIGHUP and SIGINT as a shell starts it, whatever this process has inherited."""
    before = [(number, signal.signal(number, signal.SIG_DFL)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@pytest.mark.parametrize(
    "loaded", ["argparse", "maildir_safe._cli.serve", "maildir_safe._smtp.server.service"]
)
@pytest.mark.parametrize("flags", [(), ("--workers", "2")])
def test_serve_while_it_starts(tmp_path: Path, loaded: str, flags: tuple[str, ...]) -> None:
    words = [*command(loaded), "serve", "--smtp", "127.0.0.1:0", "--no-web", *flags]
    with unignored():
        process = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline().startswith("SMTP")
    for line in iter(process.stdout.readline, ""):
        if line.startswith("Try"):
            break
    process.send_signal(signal.SIGHUP)  # it is blocked no longer: the settings are read again
    assert any("reloaded" in line for line in iter(process.stderr.readline, ""))
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("once", [(), ("--once",)])
@pytest.mark.parametrize(
    "loaded", ["argparse", "maildir_safe._cli.work", "maildir_safe._queue.couriers.maildir"]
)
def test_work_while_it_starts(tmp_path: Path, loaded: str, once: tuple[str, ...]) -> None:
    """It ends in order: with 0, and the item is delivered or in the queue."""
    with Queue(tmp_path / "spool") as queue:
        queue.put(MESSAGE, "a@b", ["c@d"])
    Maildir(tmp_path / "m")
    words = [*command(loaded), "work", str(tmp_path / "spool"), "--to", f"maildir:{tmp_path}/m", *once]
    with unignored():
        done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    with Queue(tmp_path / "spool", shared=False) as queue:
        left = sum(queue.stats()[state] for state in ("pending", "claimed"))
    assert left + len(list(Maildir(tmp_path / "m").messages())) == 1


def test_work_in_the_middle(tmp_path: Path) -> None:
    Queue(tmp_path / "spool").close()
    Maildir(tmp_path / "m")
    words = [*command(""), "work", str(tmp_path / "spool"), "--to", f"maildir:{tmp_path}/m"]
    with unignored():
        process = subprocess.Popen(words)
    until(lambda: os.listdir(tmp_path / "spool" / "alive"))
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("loaded", ["argparse", "maildir_safe._cli.queue"])
def test_put_while_it_starts(tmp_path: Path, loaded: str, number: signal.Signals) -> None:
    words = [*command(loaded, number), "queue", "put", str(tmp_path / "spool"), "c@d"]
    with unignored():
        done = subprocess.run(words, input=MESSAGE, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (75, b"")
    assert done.stderr == b"4.3.0 interrupted; nothing was put\n"
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_put_while_the_message_comes_in(tmp_path: Path, number: signal.Signals) -> None:
    words = [*command(""), "queue", "put", str(tmp_path / "spool"), "c@d"]
    with unignored():
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(bytes(1 << 20))  # more than a pipe holds: when this returns, it is reading
    process.stdin.flush()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)  # ends its input: half a message must not be put either
    assert (process.returncode, said) == (75, b"4.3.0 interrupted; nothing was put\n")
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_put_once_the_message_is_read(tmp_path: Path, number: signal.Signals) -> None:
    """The item is in the queue: another exit code would have the message put twice."""
    script = f"""
import os, sys
from maildir_safe._cli import main, queue
put_many = queue.Queue.put_many
def killed(*words, **more):
    os.kill(os.getpid(), {int(number)})
    found = put_many(*words, **more)
    os.kill(os.getpid(), {int(number)})
    return found
queue.Queue.put_many = killed
sys.exit(main())
"""
    words = [sys.executable, "-c", script, "queue", "put", str(tmp_path / "spool"), "c@d"]
    with unignored():
        done = subprocess.run(words, input=MESSAGE, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    with Queue(tmp_path / "spool") as queue:
        assert [listed.item.id for listed in queue.items()] == [done.stdout.decode().strip()]
