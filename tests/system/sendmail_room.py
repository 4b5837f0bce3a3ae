"""A room where a package's sender runs: its own /etc, a /var/spool that lasts (sendmail_programs.py)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.system import mta
from tests.system.sendmail_programs import MOUNTS

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


class Room:
    """Runs the programs of one package, or ours.

    Args:
        program: as in sendmail_programs.PROGRAMS.
        unpacked: the directory of its package; none for ours.
        base: an empty directory, which other users may enter.
        port: of the server to which its mail goes.

    Attributes:
        spool: its /var/spool; for ours, that of the queue.
    """

    def __init__(self, program: str, unpacked: Path | None, base: Path, port: int) -> None:
        self.spool = base / "var"
        self.spool.mkdir()
        self._base, self._program, self._unpacked = base, program, unpacked
        self.ours = mta.command(base)
        for name, text in {
            "dma/dma.conf": f"SMARTHOST 127.0.0.1\nPORT {port}\n",
            "mailname": "sink.example\n",
            "nullmailer/remotes": f"127.0.0.1 smtp port={port}\n",
            "nullmailer/pausetime": "1\n",
            "msmtprc": f"account default\nhost 127.0.0.1\nport {port}\nfrom ann@sink.example\n",
            "postfix/main.cf": "compatibility_level = 3.6\nqueue_directory = /var/spool/postfix\n",
            "maildir-safe/sendmail.toml": 'spool = "/var/spool/ours"\ndomain = "sink.example"\n',
        }.items():
            self.configure(name, text)

    def configure(self, name: str, text: str) -> None:
        """Write a file below its /etc."""
        file = self._base / "etc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command; all that it leaves behind ends with it."""
        environment = {
            **os.environ,
            "PROGRAM": self._program,
            "UNPACKED": str(self._unpacked or ""),
            "ETC": str(self._base / "etc"),
            "VAR": str(self.spool),
        }
        unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        return subprocess.Popen(
            [*unshare, "sh", "-c", MOUNTS + '"$@"', "sh", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip

    def run(self, *words: str, message: bytes = b"") -> tuple[int, str]:
        """Run a command to its end: its exit code, and what it says."""
        running = self.start(*words)
        said, _ = running.communicate(message, timeout=120)
        return running.returncode, said.decode(errors="replace")

    def files(self, pattern: str) -> list[str]:
        """The names of the files in its spool that fit a pattern, sorted."""
        return sorted(file.name for file in self.spool.glob(pattern) if file.is_file())
