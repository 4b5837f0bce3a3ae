"""Runs what a page tells its reader to type: one shell and one Python interpreter for each page.

Paths, ports and the host's name are those of a directory made for the test; `Session.normal` gives
output the form that the page has, with everything that differs from run to run replaced.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from smtp_support import free_port

DRIVER = Path(__file__).with_name("interpreter.py")
PLACES = ("/home/ann", "/mnt/mail", "/srv/mail", "/run/maildir-safe")
"""Paths that pages use; each lies in the test's directory."""

_END = "-- end of command"
_PATIENCE = 60.0
_RULES = (
    # a message's file or an item of the queue, whatever fields its name has: pages show examples of names
    (r"\d{10}\.[\w\\.-]+(?:,[A-Z]=\d+)*", "NAME"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[+-]\d\d:?\d\d|Z)?", "TIME"),
    (r"(?m)^Try .*$", "Try"),
    (r"durability (?:full|file|client|none), [\w.]+", "durability full, FS"),
    (r"(?m)^(fstype|mount) .*$", r"\1"),
    (r"\b\d+(?:\.\d+)? s\b", "N s"),
    (r"(?<=seconds )[\d.]+", "N"),
    (r'"(?:created|received|arrived|arrival_time)": [\d.]+', '"when": N'),
    (r"[ \t]+", " "),
    (r"(NAME \S+) \d+", r"\1 N"),
    (r"\b\d+ B\b", "N B"),
    (r"(?m) +$", ""),
)


class Session:
    """One reader's shell and interpreter, in a home directory of its own.

    Args:
        root: an empty directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        for place in PLACES:
            (root / place[1:]).mkdir(parents=True)
        self._ports = {"1025": str(free_port()), "8025": str(free_port()), "9025": str(free_port())}
        home = root / "home/ann"
        env = {
            **{name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ},
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._shell = _Process(["bash", "--norc", "--noprofile"], home, env)
        self._python = _Process([sys.executable, str(DRIVER)], home, env)
        self.home = home

    def close(self) -> None:
        """End everything that the page has started."""
        self._shell.kill()
        self._python.kill()

    def here(self, text: str) -> str:
        """A page's text, with this session's paths and ports in it."""
        for place in PLACES:
            text = re.sub(rf"(?<![\w.]){re.escape(place)}\b", str(self._root) + place, text)
        for port, other in self._ports.items():
            text = re.sub(rf"\b{port}\b", other, text)
        if re.match(r"maildir-safe serve\b", text) and "--smtp" not in text and "--lmtp" not in text:
            text = text.replace("serve", f"serve --smtp 127.0.0.1:{self._ports['1025']}", 1)
        if re.match(r"maildir-safe serve\b", text) and not re.search(r"--(web|no-web|map|queue)\b", text):
            text = text.replace("serve", f"serve --web 127.0.0.1:{self._ports['8025']}", 1)
        return text

    def normal(self, text: str) -> str:
        """Output as the page may have it, with what differs from run to run replaced."""
        text = text.replace(str(self._root), "")
        for port, other in self._ports.items():
            text = re.sub(rf"\b{other}\b", port, text)
        text = text.replace(socket.gethostname(), "mx1")
        for pattern, replacement in _RULES:
            text = re.sub(pattern, replacement, text)
        return text.strip()

    def shell(self, command: str, expected: str) -> tuple[int, str]:
        """Run a command; its exit status and its output.

        What a program in the background prints comes when it comes, so that the output is waited for.
        """
        self._shell.send(f"{self.here(command)}\n__status=$?; echo '{_END}' $__status; (exit $__status)\n")
        until = time.monotonic() + _PATIENCE
        while True:
            text = self._shell.output()
            ended = re.search(rf"(?m)^{_END} (\d+)\n", text)
            output = text.replace(ended[0], "") if ended else text
            if (ended and matches(self.normal(output), self.normal(expected))) or time.monotonic() > until:
                break
            if ended and not command.rstrip().endswith("&") and time.monotonic() > until - _PATIENCE + 20:
                break
            time.sleep(0.02)
        self._shell.clear()
        return (int(ended[1]) if ended else -1), output

    def python(self, code: str) -> str:
        """Run a block of Python, statements or a dialogue; what it printed, or its traceback."""
        self._python.send(f"{len(code := self.here(code))}\n{code}")
        until = time.monotonic() + _PATIENCE
        while _END not in (text := self._python.output()) and time.monotonic() < until:
            time.sleep(0.02)
        self._python.clear()
        return text.replace(f"{_END}\n", "") if _END in text else f"{text}\nTraceback: it did not end"


def matches(output: str, expected: str) -> bool:
    """Whether output is what a page shows; a line `...` there stands for any lines."""
    parts = [re.escape(part.strip("\n")) for part in re.split(r"(?m)^\.\.\.$", expected)]
    return re.fullmatch(r"(?s:.*)".join(parts), output) is not None


class _Process:
    """A child process whose output is gathered by a thread."""

    def __init__(self, command: list[str], directory: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=env,
            start_new_session=True,
        )
        self._gathered = b""
        self._lock = threading.Lock()
        threading.Thread(target=self._gather, daemon=True).start()

    def _gather(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._lock:
                self._gathered += data

    def send(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def output(self) -> str:
        with self._lock:
            return self._gathered.decode(errors="replace")

    def clear(self) -> None:
        with self._lock:
            self._gathered = b""

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
