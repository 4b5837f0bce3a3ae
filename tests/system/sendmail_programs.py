"""Runs the `sendmail` of nullmailer, dma, msmtp, Postfix and ours with one option each, and writes the table.

    python -m tests.system.sendmail_programs > docs/reference/sendmail-options.md

The packages exclude each other, so each is unpacked into a directory, which an overlay in a private mount
namespace puts over /usr. Needs root, a Debian system, and its package archive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from maildir_safe import Maildir, Queue
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.settings import Settings

PROGRAMS = ("nullmailer", "dma", "msmtp", "Postfix", "ours")
PACKAGES = {"nullmailer": "nullmailer", "dma": "dma", "msmtp": "msmtp", "Postfix": "postfix"}

TO = "bob@sink.example"
MESSAGE = f"From: ann@sink.example\nTo: {TO}\nSubject: x\n\nbody\n"
SMTP = (
    f"EHLO x\r\nMAIL FROM:<ann@sink.example>\r\nRCPT TO:<{TO}>\r\nDATA\r\n"
    "Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
)

CASES = {
    "-t": ["-t"], "-i": ["-i", TO], "-oi": ["-oi", TO], "-ti": ["-ti"], "-f": ["-f", "ann@sink.example", TO],
    "-f ''": ["-f", "", TO], "-r": ["-r", "ann@sink.example", TO], "-F": ["-F", "Ann", TO],
    "-bm": ["-bm", TO], "-bs": ["-bs"], "-v": ["-v", TO], "-N": ["-N", "never", TO], "-R": ["-R", "hdrs", TO],
    "-V": ["-V", "id1", TO], "-B": ["-B", "8BITMIME", TO], "-O": ["-O", "Timeout.queuereturn=1d", TO],
    "-oem": ["-oem", TO],
    "-odi": ["-odi", TO], "-L": ["-L", "tag", TO], "-m": ["-m", TO], "-n": ["-n", TO], "-U": ["-U", TO],
    "-X": ["-X", "/dev/null", TO], "-h": ["-h", "5", TO], "-A": ["-Am", TO], "--": ["--", TO],
}  # fmt: skip
"""Options, each with its arguments. The message must then be in the queue, or be sent."""

_HEAD = """\
# Options of sendmail

What each program does when it is called with this option: the message is queued or sent, or the program
refuses with an exit code. *lost* means exit code 0 and no message. All are those of Debian 12;
`tests/system/test_sendmail_table.py` runs them. Code 124 is no end within 20 seconds: Postfix's daemons,
which its `-bs` waits for, do not run there.
"""

MOUNTS = """
set -e
mount --make-rprivate /
[ -z "$UNPACKED" ] || mount -t overlay none -o lowerdir="$UNPACKED/usr":/usr /usr
mount -t overlay none -o lowerdir="$ETC":/etc /etc
if [ -n "$VAR" ]; then mount --bind "$VAR" /var/spool; else mount -t tmpfs none /var/spool; fi
cd /var/spool
mkdir -p dma nullmailer/queue nullmailer/tmp nullmailer/failed postfix
chown root:mail dma && chmod 2775 dma
[ -p nullmailer/trigger ] || mkfifo nullmailer/trigger
chown -R mail:mail nullmailer
if [ "$PROGRAM" = Postfix ]; then
  mkdir -p postfix/maildrop postfix/public postfix/pid
  chown postfix:postdrop postfix/maildrop && chmod 730 postfix/maildrop
fi
set +e
"""
"""In a mount namespace: the package in UNPACKED over /usr, ETC over /etc, VAR or nothing in /var/spool."""

_ONE_CALL = """
"$@" >"$OUT" 2>&1
echo $? >"$OUT.code"
find /var/spool/nullmailer/queue /var/spool/postfix/maildrop -type f 2>/dev/null | wc -l >"$OUT.queued"
find /var/spool/dma -name 'Q*' -type f | wc -l >>"$OUT.queued"
"""


def unpack(directory: Path) -> dict[str, Path]:
    """Download and unpack the packages; the directory of each program.

    Raises:
        CalledProcessError: the archive cannot be reached.
    """
    subprocess.run(
        ["apt-get", "-q", "download", *PACKAGES.values()], cwd=directory, check=True, capture_output=True
    )
    found = {}
    for program, package in PACKAGES.items():
        (deb,) = directory.glob(f"{package}_*.deb")
        found[program] = directory / package
        subprocess.run(["dpkg", "-x", deb, found[program]], check=True)
    return found


class Bench:
    """A place where the programs run.

    Args:
        directory: an empty directory, which other users may enter.
        port: of the server that msmtp sends to.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._unpacked = unpack(directory)
        self._sink = Maildir(directory / "sink", create=True)
        Queue(directory / "spool").close()
        for name, text in {
            "msmtprc": f"account default\nhost 127.0.0.1\nport {port}\nfrom ann@sink.example\n",
            "postfix.d/main.cf": "compatibility_level = 3.6\nqueue_directory = /var/spool/postfix\n",
            "postfix.d/master.cf": "",
            "etc/dma/dma.conf": "DEFER\n",
            "etc/mailname": "sink.example\n",
            "etc/nullmailer/remotes": "127.0.0.1\n",
            "ours.toml": f'spool = "{directory}/spool"\n',
        }.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        (directory / "msmtprc").chmod(0o600)
        self._commands = {
            "nullmailer": ["/usr/sbin/sendmail"],
            "dma": ["/usr/sbin/dma"],
            "msmtp": ["/usr/bin/msmtp", "-C", f"{directory}/msmtprc"],
            "Postfix": ["/usr/sbin/sendmail"],
            "ours": [str(Path(sys.executable).parent / "maildir-safe"), "sendmail"],
        }

    def answer(self, program: str, option: str) -> str:
        """What a program does: ``sent``, ``queued``, ``lost`` (exit code 0 and no mail), or its exit code."""
        out = Path(tempfile.mkdtemp(dir=self._directory)) / "out"
        before = self._ours_and_sent()
        subprocess.run(
            ["unshare", "-m", "sh", "-c", MOUNTS + _ONE_CALL, "sh", "timeout", "20",
             *self._commands[program], *CASES[option]],
            input=(SMTP if option == "-bs" else MESSAGE).encode(), env=self._environment(program, out),
            capture_output=True, check=True,
        )  # fmt: skip
        code = int(out.with_suffix(".code").read_text())
        theirs = sum(map(int, out.with_suffix(".queued").read_text().split()))
        there, what = theirs + self._ours_and_sent() - before, "sent" if program == "msmtp" else "queued"
        if there:
            return what if code == 0 else f"{what}, exit {code}"
        return "lost" if code == 0 else f"exit {code}"

    def _environment(self, program: str, out: Path) -> dict[str, str]:
        return {
            **os.environ,
            "PROGRAM": program,
            "UNPACKED": str(self._unpacked.get(program, "")),
            "OUT": str(out),
            "ETC": f"{self._directory}/etc",
            "VAR": "",
            "MAIL_CONFIG": f"{self._directory}/postfix.d",
            "MAILDIR_SAFE_SENDMAIL_CONFIG": f"{self._directory}/ours.toml",
        }

    def _ours_and_sent(self) -> int:
        with Queue(self._directory / "spool", create=False) as queue:
            return len(list(queue.items())) + len(list(self._sink.messages()))


def table(directory: Path) -> dict[str, dict[str, str]]:
    """The answers of all programs, by option."""
    settings = Settings(maildir=str(directory / "sink"), smtp=["127.0.0.1:0"])
    with BackgroundServer(settings) as server:
        bench = Bench(directory, server.port)
        return {option: {program: bench.answer(program, option) for program in PROGRAMS} for option in CASES}


def page(found: dict[str, dict[str, str]]) -> str:
    """The table as a page of the documents."""
    head = [_HEAD, f"| option | {' | '.join(PROGRAMS)} |", "|---" * (1 + len(PROGRAMS)) + "|"]
    rows = [f"| `{name}` | {' | '.join(row[one] for one in PROGRAMS)} |" for name, row in found.items()]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        Path(work).chmod(0o755)
        print(page(table(Path(work))), end="")
