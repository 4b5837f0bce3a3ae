"""mutt, Dovecot, notmuch and mbsync read a Maildir while we deliver into it.

Each sees every message, once, with the bytes that were delivered; and what each does to the flags is
seen by us. Nobody listens on a port: Dovecot's imap speaks to us over a pipe.
"""

from __future__ import annotations

import imaplib
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maildir_safe import Maildir

pytestmark = pytest.mark.mounts
NOBODY = 65534  # Dovecot reads no mail as root
LETTER = """\
Message-ID: <{n}@maildir-safe.example>
Date: Mon, 23 Nov 2026 00:00:{n:02d} +0000
From: Jürgen <j@example.com>
To: =?utf-8?q?K=C3=B6ln?= <k@example.com>
Subject: Grüße Nummer {n} 日本語
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

From the start, a line as mbox fears it.
.
{body}
\tüber und aus
"""
WRITER = """
import os, sys, threading
from test_readers import letter
from maildir_safe import Maildir
os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
box, n = Maildir(sys.argv[1], create=False), 0
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
while not stop.wait(0.01 if n % 25 else float(sys.argv[3])) or n < 20:
    box.deliver(letter(n))
    n += 1
    print(n, flush=True)
"""


def letter(n: int) -> bytes:
    return LETTER.format(n=n, body="y" * 37 * (n % 50)).encode()


def number(data: bytes) -> int:
    """Which letter this is."""
    return int(data.partition(b"<")[2].partition(b"@")[0])


def whole(box: Maildir, key: str) -> bytes:
    with box.open(key) as file:
        return file.read()


def contents(box: Maildir) -> list[tuple[bytes, str]]:
    """Each message that we see, with its flags."""
    return [(whole(box, message.key), message.flags) for message in box.messages()]


class Writer:
    """A process that delivers letters 0, 1, 2 ... as fits the reader, until it is told to stop."""

    def __init__(self, reader: Reader) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(reader.box), str(reader.uid), str(reader.needs_rest)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "1\n"

    def stop(self) -> int:
        """How many it has delivered in all."""
        said, _ = self._process.communicate("stop\n", timeout=60)
        assert self._process.returncode == 0
        return int(said.split()[-1])


class Reader:
    """A program that reads `home`/box; `read` gives all messages it sees now, `flag` flags them all.

    Attributes:
        uid: the user whose mail it reads.
        rounds: how often it reads while we deliver.
        needs_rest: seconds without a delivery after each 25, without which it would wait for ever.
        follows: whether it finds a message that another has renamed since it listed the directory.
    """

    package = ""
    program = ""
    uid = 0
    rounds = 5
    needs_rest = 0.01
    follows = True

    def __init__(self, home: Path) -> None:
        self.home = home
        self.box = home / "box"

    def run(self, *command: str, tries: int = 1) -> str:
        """Run a command; again, up to `tries` times, if it says that it failed for the moment (75)."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TERM": "xterm", "USER": "root"}
        for _ in range(tries):
            done = subprocess.run(
                command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=60
            )
            if done.returncode != os.EX_TEMPFAIL:
                break
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def write(self, name: str, text: str) -> str:
        (self.home / name).write_text(text.format(home=self.home))
        return str(self.home / name)

    def read(self) -> list[bytes]:
        raise NotImplementedError

    def flag(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Mutt(Reader):
    """mutt, in a terminal of its own; it pipes each message that it sees to a program."""

    package = program = "mutt"
    settings = """
        set mbox_type=Maildir folder={home} wait_key=no pipe_split=yes pipe_decode=no pipe_sep=""
        set quit=yes move=no mark_old=no delete=no mail_check=0 sleep_time=0
        push "{keys}"
    """

    def read(self) -> list[bytes]:
        out = Path(tempfile.mkdtemp(dir=self.home))
        save = self.write("save", f"#!/bin/sh\ncat > $(mktemp {out}/XXXXXXXX)\n")
        os.chmod(save, 0o755)
        self._type(f"<tag-pattern>~A<enter><tag-prefix><pipe-message>{save}<enter><quit>")
        return [path.read_bytes() for path in out.iterdir()]

    def flag(self) -> None:
        self._type("<tag-pattern>~A<enter><tag-prefix><set-flag>!<sync-mailbox><quit>")

    def _type(self, keys: str) -> None:
        settings = self.write("muttrc", self.settings.replace("{keys}", keys))
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(TERM="xterm", HOME=str(self.home))
            os.execlp("mutt", "mutt", "-n", "-F", settings, "-f", str(self.box))
        screen = b""
        try:
            while shown := os.read(terminal, 1 << 16):
                screen += shown
        except OSError:
            pass  # mutt has closed its terminal
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, screen


class Dovecot(Reader):
    """One IMAP session that stays open, and looks again."""

    package, program, uid = "dovecot-imapd", "/usr/lib/dovecot/imap", NOBODY
    rounds = 30
    settings = """
        base_dir = {home}/run
        state_dir = {home}/run
        mail_location = maildir:{home}/box
        ssl = no
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        settings = self.write("dovecot.conf", self.settings.replace("        ", ""))
        self._session = imaplib.IMAP4_stream(
            f"exec env USER=nobody HOME={home} setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
            f" {self.program} -c {settings} 2>{home}/dovecot.log"
        )
        assert self._session.state == "AUTH"
        self._session.select()

    def read(self) -> list[bytes]:
        self._session.noop()
        _, found = self._session.uid("FETCH", "1:*", "(BODY.PEEK[])")
        return [part[1].replace(b"\r\n", b"\n") for part in found if isinstance(part, tuple)]

    def flag(self) -> None:
        status, _ = self._session.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Flagged)")
        assert status == "OK"

    def close(self) -> None:
        self._session.logout()
        log = (self.home / "dovecot.log").read_text()
        assert not re.search("Error|Warning|Panic|Fatal", log), log


class Notmuch(Reader):
    """notmuch, which keeps flags and tags the same."""

    package = program = "notmuch"
    rounds = 20
    settings = """
[database]
path={home}/box
[user]
primary_email=x@example.com
[new]
tags=unread
[maildir]
synchronize_flags=true
"""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._config = f"--config={self.write('notmuchrc', self.settings)}"

    def read(self) -> list[bytes]:
        self.run("notmuch", self._config, "new", "--quiet", tries=10)  # 75: renamed since it was listed
        files = self.run("notmuch", self._config, "search", "--output=files", "*").splitlines()
        return [found for found in map(self._raw, files) if found is not None]

    def _raw(self, file: str) -> bytes | None:
        try:
            return Path(file).read_bytes()
        except FileNotFoundError:
            return None  # we have flagged it since: notmuch learns of it the next time

    def flag(self) -> None:
        self.run("notmuch", self._config, "tag", "+flagged", "*")


class Mbsync(Reader):
    """mbsync copies the Maildir into another; it numbers messages in their names.

    It lists again until a directory has not changed in the second before, and takes what another
    renames while it copies for deleted, for good (isync 1.4.4): so nobody flags meanwhile.
    """

    package, program = "isync", "mbsync"
    needs_rest = 3.0
    follows = False
    settings = """
        MaildirStore ours
        Path {home}/
        Inbox {home}/box

        MaildirStore copy
        Path {home}/copy/
        Inbox {home}/copy/box

        Channel all
        Far :ours:
        Near :copy:
        Create Near
        SyncState *
        Sync All
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        (home / "copy").mkdir()
        self._settings = self.write("mbsyncrc", self.settings.replace("        ", ""))

    def read(self) -> list[bytes]:
        self.run("mbsync", "-q", "-c", self._settings, "all")
        files = [file for sub in ("new", "cur") for file in (self.home / "copy/box" / sub).iterdir()]
        return [re.sub(rb"X-TUID: .*\n", b"", file.read_bytes()) for file in files]

    def flag(self) -> None:
        copy = Maildir(self.home / "copy/box", create=False)
        for message in copy.messages():
            copy.set_flags(message.key, message.flags + "F")
        self.run("mbsync", "-q", "-c", self._settings, "all")


@pytest.fixture(params=[Mutt, Dovecot, Notmuch, Mbsync], ids=lambda kind: kind.__name__)
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    kind: type[Reader] = request.param
    if os.getuid() or not shutil.which(kind.program):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"needs root and the package {kind.package}")
    with tempfile.TemporaryDirectory(prefix="readers.") as home:
        os.chmod(home, 0o755)  # for Dovecot
        Maildir(f"{home}/box")
        for path in (home, f"{home}/box", *(f"{home}/box/{sub}" for sub in ("tmp", "new", "cur"))):
            os.chown(path, kind.uid, kind.uid)
        reader = kind(Path(home))
        yield reader
        reader.close()


def test_reads_while_we_deliver(reader: Reader) -> None:
    """And while we flag what we find, as another reader would."""
    ours = Maildir(reader.box, create=False)
    writer = Writer(reader)
    done = threading.Event()
    if not reader.follows:
        done.set()
    with ThreadPoolExecutor(1) as pool:
        flagging = pool.submit(flag_half, ours, done)
        try:
            for _ in range(reader.rounds):
                seen = reader.read()
                assert len(set(seen)) == len(seen), "one was seen twice"
                assert set(seen) <= {letter(n) for n in range(10_000)}, "one has other bytes"
        finally:
            count = writer.stop()
            done.set()
        flagged = flagging.result()
    delivered = [letter(n) for n in range(count)]
    assert sorted(reader.read()) == sorted(delivered)
    found = contents(ours)
    assert sorted(data for data, _ in found) == sorted(delivered)
    assert flagged <= {number(data) for data, flags in found if "S" in flags}
    assert bool(flagged) == reader.follows


def flag_half(box: Maildir, done: threading.Event) -> set[int]:
    """Give every other message the flag S, as soon as it is there; the numbers of those."""
    flagged = set()
    while not done.wait(0.05):
        for message in box.messages():
            n = number(whole(box, message.key))
            if message.flags == "" and n % 2:
                box.set_flags(message.key, "S")
                flagged.add(n)
    return flagged


def test_we_see_its_flags(reader: Reader) -> None:
    ours = Maildir(reader.box, create=False)
    ours.deliver_many(letter(n) for n in range(10))
    ours.deliver(letter(10), flags="S")
    for path in (*(reader.box / "new").iterdir(), *(reader.box / "cur").iterdir()):
        os.chown(path, reader.uid, reader.uid)
    assert sorted(reader.read()) == sorted(letter(n) for n in range(11))
    reader.flag()
    flags = {number(data): flags for data, flags in contents(ours)}
    assert {n for n in flags if "F" in flags[n]} == set(range(11))
    assert "S" in flags[10]
