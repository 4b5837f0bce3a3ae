"""A log that cannot be written, for real: the answer to a stored message stays 250, at every door."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import COMMAND, Wire, stored

from maildir_safe import Queue

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
LIMIT = 1 << 16


def file_limit() -> None:
    """No file may grow beyond a message; SIGXFSZ, which would kill, Python ignores."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


@pytest.fixture(params=["full", "pipe", "limit"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The SMTP and LMTP address of a server whose log is on a full disk, a closed pipe, or at its limit."""
    flags = ["--queue", "spool"] if "queue" in request.node.name else []
    reader, writer = os.pipe()
    if request.param == "full":
        writer = os.open("/dev/full", os.O_WRONLY)
    elif request.param == "limit":
        writer = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(writer, b"-" * LIMIT)
    words = [*COMMAND, "--smtp", "127.0.0.1:0", "--lmtp", "./l.sock", "--no-web", *flags]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
        preexec_fn=file_limit if request.param == "limit" else None,
    )
    os.close(writer)
    os.close(reader)
    try:
        assert process.stdout
        address = process.stdout.readline().split()[1]
        while not process.stdout.readline().startswith("Try"):
            pass
        yield address, str(tmp_path / "l.sock")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def session(address: str, hello: str) -> None:
    """Two messages, and a refusal, which is logged too."""
    wire = Wire(address)
    assert wire.ask(f"{hello} client.example").startswith("250")
    for _ in range(2):
        assert wire.ask("MAIL FROM:<a@b>").startswith("250")
        assert wire.ask("RCPT TO:<c@d>").startswith("250")
        assert wire.ask("DATA").startswith("354")
        assert wire.ask(MESSAGE + b".").startswith("250 2.0.0 ")
    assert wire.ask("MAIL FROM:<\x01>").startswith("553")
    assert wire.ask("NOOP").startswith("250")
    wire.close()


def test_into_a_maildir(server: tuple[str, str], tmp_path: Path) -> None:
    session(server[0], "EHLO")
    session(server[1], "LHLO")
    assert len(stored(tmp_path / "Maildir")) == 4


def test_into_a_queue(server: tuple[str, str], tmp_path: Path) -> None:
    session(server[0], "EHLO")
    session(server[1], "LHLO")
    with Queue(tmp_path / "spool", shared=False) as queue:
        assert queue.stats()["pending"] == 4


def test_the_worker(tmp_path: Path) -> None:
    """An attempt that cannot be logged is an attempt all the same: each item is delivered once."""
    with Queue(tmp_path / "spool") as queue:
        for _ in range(3):
            queue.put(MESSAGE, "a@b", ["c@d"])
    subprocess.run([sys.executable, "-m", "maildir_safe", "create", tmp_path / "m"], check=True)
    words = ["work", str(tmp_path / "spool"), "--to", f"maildir:{tmp_path}/m", "--once", "--verbose"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "maildir_safe", *words], stderr=full, check=False)
    assert done.returncode == 0
    assert len(stored(tmp_path / "m")) == 3
