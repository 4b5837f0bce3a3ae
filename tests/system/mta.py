"""Real mail servers for the tests of `deliver`: private configurations, ports and queues; never the system's.

Their configurations are those of docs/howto/mail-servers.md, with only paths, users and ports replaced.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from smtplib import SMTP
from typing import Any

import pytest

from tests.smtp_support import free_port

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs/howto/mail-servers.md"
MAIL_USER = "mail"  # any that is neither root nor a mail server's own
COMMAND = "/usr/local/bin/maildir-safe"


def documented(name: str, **replace: str) -> str:
    """A configuration of docs/howto/mail-servers.md, with `replace` applied (each text must be there)."""
    block = re.search(rf"<!-- config: {name} -->\n```text\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block, f"docs/howto/mail-servers.md has no configuration {name}"
    text = block.group(1)
    for old, new in replace.items():
        old = {"command": COMMAND, "vhosts": "/var/mail/vhosts", "user": "vmail"}.get(old, old)
        assert old in text, f"the configuration {name} does not mention {old}"
        text = text.replace(old, new)
    return text


def need(program: str) -> str:
    """The path of a program. Without it the test is skipped, but in CI (CI=true) it fails."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/lib/dovecot")
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")
    assert path is not None
    return path


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that every user may enter, with a short name: paths of sockets are limited."""
    path = Path(tempfile.mkdtemp(prefix="mta."))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def owned(path: Path, user: str | int = MAIL_USER) -> Path:
    """A new directory that belongs to a user, by name or number."""
    path.mkdir(mode=0o700)
    uid = user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    os.chown(path, uid, -1)
    return path


def command(directory: Path) -> str:
    """A `maildir-safe` that every user may run, as the console script does."""
    script = directory / "maildir-safe"
    script.write_text(
        f"#!{_interpreter()}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from maildir_safe._cli import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return str(script)


def _interpreter() -> str:
    """This interpreter, or the system's where users may not enter this one's directory (/root)."""
    real = Path(sys.executable).resolve()
    open_to_all = all(parent.stat().st_mode & 0o001 for parent in real.parents)
    return str(real) if open_to_all else "/usr/bin/python3"


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until the condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return result


def delivered(maildir: Path) -> list[bytes]:
    """The messages in new/."""
    new = maildir / "new"
    return [file.read_bytes() for file in sorted(new.iterdir())] if new.is_dir() else []


class Postfix:
    """A private Postfix: SMTP on a port of its own.

    Args:
        base: an empty directory; configuration, queue and log go there.
        main, master: lines for main.cf and master.cf.
    """

    SERVICES = """
        127.0.0.1:{port} inet n - n - - smtpd
        pickup unix n - n 60 1 pickup
        cleanup unix n - n - 0 cleanup
        qmgr unix n - n 300 1 qmgr
        rewrite unix - - n - - trivial-rewrite
        bounce unix - - n - 0 bounce
        defer unix - - n - 0 bounce
        trace unix - - n - 0 bounce
        flush unix n - n 1000? 0 flush
        proxymap unix - - n - - proxymap
        error unix - - n - - error
        retry unix - - n - - error
        showq unix n - n - - showq
        local unix - n n - - local
        anvil unix - - n - 1 anvil
        postlog unix-dgram n - n - 1 postlogd
    """

    SETTINGS = """
        compatibility_level = 3.6
        queue_directory = {base}/queue
        data_directory = {base}/data
        maillog_file = {base}/log
        maillog_file_prefixes = {base}
        myhostname = mx.example.net
        mydestination =
        inet_interfaces = 127.0.0.1
        mynetworks = 127.0.0.0/8
        alias_maps =
        smtpd_relay_restrictions = permit_mynetworks, reject
        smtp_dns_support_level = disabled
        default_transport = error:no mail leaves this test
        bounce_queue_lifetime = 1h
    """

    def __init__(self, base: Path, main: str, master: str) -> None:
        need("postfix")
        self.port = free_port()
        self._config = base / "config"
        self._config.mkdir()
        self._log = base / "log"
        (base / "queue").mkdir()
        owned(base / "data", "postfix")
        fill = {"base": base, "port": self.port}
        (self._config / "main.cf").write_text(_left(self.SETTINGS.format(**fill)) + main)
        (self._config / "master.cf").write_text(_left(self.SERVICES.format(**fill)) + master)

    def __enter__(self) -> Postfix:
        self._run("postfix", "start")
        try:
            wait_for("Postfix", self._answers)
        except BaseException:
            self._run("postfix", "stop")
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._run("postfix", "stop")

    def send(self, recipient: str, message: bytes, sender: str = "ann@example.com") -> None:
        """Hand a message in by SMTP."""
        with SMTP("127.0.0.1", self.port) as client:
            client.sendmail(sender, [recipient], message)

    def queue(self) -> list[dict[str, Any]]:
        """What is in the queue, as `postqueue -j` prints it."""
        lines = self._run("postqueue", "-j").splitlines()
        return [json.loads(line) for line in lines]

    def emptied(self) -> None:
        """Wait until nothing is in the queue: what was sent leaves it a little after it was logged."""
        wait_for("an empty queue", lambda: not self.queue())

    def retry(self) -> None:
        """Try all deferred mail now, once it is: that is a little after it was logged."""
        wait_for("deferred mail", self._all_deferred)
        self._run("postqueue", "-f")

    def _all_deferred(self) -> bool:
        queue = self.queue()
        return bool(queue) and all(item["queue_name"] == "deferred" for item in queue)

    def outcome(self, status: str, count: int = 1) -> str:
        """Wait until this status (sent, deferred, bounced) was logged `count` times; the last such line."""
        return str(
            wait_for(f"status={status}", lambda: self._lines(f"status={status}")[count - 1 : count])[0]
        )

    def _lines(self, text: str) -> list[str]:
        log = self._log.read_text() if self._log.exists() else ""
        return [line for line in log.splitlines() if text in line]

    def _answers(self) -> bool:
        try:
            with SMTP("127.0.0.1", self.port, timeout=5) as client:
                return client.noop()[0] == 250
        except OSError:
            return False

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [need(program), "-c", str(self._config), *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def with_mailboxes(base: Path, more: str = "", services: str = "") -> Postfix:
    """A Postfix that takes mail for example.net into Maildirs below `base`/boxes.

    Args:
        more: lines of main.cf.
        services: lines of master.cf.
    """
    user = pwd.getpwnam("mail")
    owned(base / "boxes")
    main = f"""
virtual_mailbox_domains = example.net
virtual_mailbox_base = {base}/boxes
virtual_mailbox_maps = static:all/
virtual_minimum_uid = {user.pw_uid}
virtual_uid_maps = static:{user.pw_uid}
virtual_gid_maps = static:{user.pw_gid}
{more}
"""
    return Postfix(base, main, f"virtual unix - n n - - virtual\n{services}")


def _left(text: str) -> str:
    return "".join(line.strip() + "\n" for line in text.strip().splitlines())
