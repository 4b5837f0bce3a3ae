"""What the SMTP tests share: a server in the background, and a client that says exactly what it is told."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import resource
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maildir_safe import Maildir
from maildir_safe._health.trial import MARK
from maildir_safe._smtp.faults.faults import Faults
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.settings import Settings
from maildir_safe._web.app import serve_page

COMMAND = [sys.executable, "-m", "maildir_safe", "serve"]


class Wire:
    """A raw connection: bytes out, reply lines in."""

    def __init__(self, address: str, greeting: str = "220") -> None:
        if "/" in address:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(address)
        else:
            host, _, port = address.rpartition(":")
            self.sock = socket.create_connection((host, int(port)))
        self.sock.settimeout(60)
        self._file = self.sock.makefile("rb")
        self.banner = self.reply()
        assert self.banner.startswith(greeting), self.banner

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self) -> str:
        """One whole reply; its lines joined by LF; "" at the end of the connection."""
        lines = []
        while True:
            line = self._file.readline().decode()
            lines.append(line.rstrip("\r\n"))
            if not line or line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, line: str | bytes) -> str:
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def ready_for_data(self, sender: str = "a@example.com", *recipients: str) -> None:
        """From the greeting to 354."""
        assert self.ask("EHLO client.example").startswith("250")
        assert self.ask(f"MAIL FROM:<{sender}>").startswith("250")
        for recipient in recipients or ("b@example.com",):
            assert self.ask(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.ask("DATA").startswith("354")

    def close(self) -> None:
        self._file.close()
        self.sock.close()


class Serve:
    """The command, running in a directory of its own; what it printed first is `banner`.

    With a `limit` it may have only so many files open.
    """

    def __init__(self, cwd: Path, *flags: str, limit: int = 0) -> None:
        def few_files() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        self.log = cwd / f"log.{time.monotonic_ns()}"
        with self.log.open("w") as log:  # a pipe that nobody reads would stop the server
            self.process = subprocess.Popen(
                [*COMMAND, "--smtp", "127.0.0.1:0", "--no-web", *flags],
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
                if limit
                else None,
            )
        assert self.process.stdout
        self.banner = ""
        while "Try " not in self.banner:
            line = self.process.stdout.readline()
            assert line, self.log.read_text()
            self.banner += line

    @property
    def address(self) -> str:
        return self.told("SMTP")

    def told(self, what: str) -> str:
        """What the banner says behind a word."""
        match = re.search(rf"^{what} +(\S+)", self.banner, re.MULTILINE)
        assert match, self.banner
        return match[1]

    def client(self) -> smtplib.SMTP:
        host, _, port = self.address.rpartition(":")
        return smtplib.SMTP(host, int(port), timeout=60)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and log."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode, self.log.read_text()


@contextlib.contextmanager
def serving(tmp_path: Path, faults: Faults | None = None, **settings: Any) -> Iterator[BackgroundServer]:
    """A server on a free port, into `tmp_path`/M; its log is its attribute `text`."""
    text = io.StringIO()
    settings = {"maildir": str(tmp_path / "M"), "smtp": ["127.0.0.1:0"], "hostname": "mx.example", **settings}
    log = MessageLog(text, bool(settings.get("log_json")))
    page = serve_page if settings.get("web") else None
    with BackgroundServer(Settings(**settings), faults, log, page) as server:
        server.text = text  # type: ignore[attr-defined]
        yield server


def hung_up(wire: Wire) -> bool:
    """Whether the server has closed: nothing more comes, or a reset."""
    try:
        return wire.sock.recv(1000) == b""
    except ConnectionError:
        return True


def free_port() -> int:
    """A port that nobody listens on; not one that the kernel gives to who asks for any, meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listens(path: Path) -> bool:
    """Whether a server listens on a Unix socket, whose file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def unchanged_for_long(directory: Path) -> None:
    """Make a directory look so: only then is it believed that a mailbox is not in it."""
    os.utime(directory, (1e9, 1e9))


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until the condition gives something true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def stored(path: Path) -> list[bytes]:
    """The messages of a Maildir, sorted by their bytes; no file may be left in tmp/."""
    maildir = Maildir(path, create=False)
    found = []
    for message in maildir.messages():
        with maildir.open(message.key) as file:
            found.append(file.read())
    # after an ambiguous reply the name there is sealed by an empty directory (`late_calls.seal`);
    # a health trial may be under way
    left = [left for left in (path / "tmp").iterdir() if not left.is_dir() and MARK not in left.name]
    assert left == []
    return sorted(found)


def body(message: bytes) -> bytes:
    """A stored message without the headers that delivery put on top: up to the end of Received."""
    return message.split(b" +0000\n", 1)[1]


def workers_of(serve: Serve, count: int, without: str = "") -> list[str]:
    """Wait until there are so many worker processes."""
    pid, end = serve.process.pid, time.monotonic() + 60
    while time.monotonic() < end:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(found) == count and without not in found:
            return found
        time.sleep(0.05)
    raise AssertionError("not enough workers")
