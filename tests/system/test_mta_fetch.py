"""Real getmail and fetchmail fetch from a real POP3 server and deliver as docs/howto/mail-servers.md says."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mta import MAIL_USER, command, delivered, documented, need, owned, scratch, wait_for
from smtp_support import free_port

from maildir_safe import Maildir
from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

MESSAGE = (
    b"Return-Path: <ann@example.com>\nDelivered-To: ann@example.org\nReceived: from a by b\n"
    b"From: ann@example.com\nSubject: one message\n\nThe body.\n"
)
DOVECOT = """
    base_dir = {base}/run
    log_path = {base}/log
    protocols = pop3
    listen = 127.0.0.1
    ssl = no
    disable_plaintext_auth = no
    default_login_user = nobody
    default_internal_user = nobody
    service pop3-login {{
      chroot =
      inet_listener pop3 {{
        port = {port}
      }}
      inet_listener pop3s {{
        port = 0
      }}
    }}
    service anvil {{
      chroot =
    }}
    passdb {{
      driver = static
      args = password=secret
    }}
    userdb {{
      driver = static
      args = uid={uid} gid={gid} home={base}/home
    }}
    mail_location = maildir:{base}/provider
    first_valid_uid = 1
"""
GETMAIL_SOURCE = """
[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = {port}
username = ann
password = secret
[options]
delete = true
"""


class Provider:
    """A real POP3 server (Dovecot) over one Maildir, on a port of its own."""

    def __init__(self, base: Path) -> None:
        self.port = free_port()
        self.box = base / "provider"
        owned(self.box)
        user = pwd.getpwnam(MAIL_USER)
        config = base / "dovecot.conf"
        config.write_text(DOVECOT.format(base=base, port=self.port, uid=user.pw_uid, gid=user.pw_gid))
        self._server = subprocess.Popen([need("dovecot"), "-F", "-c", config])
        wait_for("Dovecot", self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
                return sock.recv(3) == b"+OK"
        except OSError:
            return False

    def put(self, message: bytes) -> None:
        """A new message for ann."""
        as_mail_user(lambda: Maildir(self.box).deliver(message))

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(timeout=30)


def as_mail_user(action: Callable[[], object]) -> None:
    """Run something as the mail user, in this process."""
    user = pwd.getpwnam(MAIL_USER)
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        action()
    finally:
        os.seteuid(0)
        os.setegid(0)


def run(base: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program as the mail user, with a home in `base`."""
    user = pwd.getpwnam(MAIL_USER)
    return subprocess.run(
        ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *words],
        env={"HOME": str(base / "home"), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        cwd=base,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def getmail(base: Path, port: int, maildir: Path) -> subprocess.CompletedProcess[str]:
    """One run of getmail."""
    rc = base / "home/getmailrc"
    text = documented("getmail", command=command(base), **{"/home/ann/Maildir": str(maildir)})
    rc.write_text(GETMAIL_SOURCE.format(port=port) + text)
    rc.chmod(0o644)
    return run(base, need("getmail"), "--getmaildir", str(base / "home"), "--rcfile", str(rc))


def fetchmail(base: Path, port: int, maildir: Path) -> subprocess.CompletedProcess[str]:
    """One run of fetchmail."""
    rc = base / "home/fetchmailrc"
    rc.write_text(
        documented(
            "fetchmail",
            command=command(base),
            **{
                "/home/ann/Maildir": str(maildir),
                "pop.example.org protocol pop3": f"127.0.0.1 protocol pop3 port {port}",
            },
        )
    )
    user = pwd.getpwnam(MAIL_USER)
    os.chown(rc, user.pw_uid, user.pw_gid)
    rc.chmod(0o600)
    return run(base, need("fetchmail"), "--fetchmailrc", str(rc), "--sslproto", "")


FETCHERS = [getmail, fetchmail]


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        owned(path / "home")
        yield path


@pytest.fixture
def provider(base: Path) -> Iterator[Provider]:
    server = Provider(base)
    yield server
    server.close()


@pytest.mark.parametrize("fetch", FETCHERS)
def test_fetched_once_and_gone_from_the_server(
    fetch: Callable[[Path, int, Path], subprocess.CompletedProcess[str]], base: Path, provider: Provider
) -> None:
    target = base / "home/Maildir"
    provider.put(MESSAGE)
    for _ in range(2):
        done = fetch(base, provider.port, target)
    (message,) = delivered(target)
    assert message.endswith(b"Subject: one message\n\nThe body.\n"), done
    assert b"Received: from a by b\n" in message
    assert not list(Maildir(provider.box).messages())


@pytest.mark.parametrize("fetch", FETCHERS)
def test_what_cannot_be_stored_stays_on_the_server(
    fetch: Callable[[Path, int, Path], subprocess.CompletedProcess[str]], base: Path, provider: Provider
) -> None:
    backing = owned(base / "backing")
    provider.put(MESSAGE)
    with FaultMount(backing) as mount:
        mount.inject("fsync", errno.ENOSPC, times=None)
        refused = fetch(base, provider.port, mount.path / "box")
        assert "4.3.1 fsync" in refused.stdout + refused.stderr
        assert mount.fired("fsync")
        assert delivered(backing / "box") == []
    assert len(list(Maildir(provider.box).messages())) == 1
    with FaultMount(backing) as mount:
        fetch(base, provider.port, mount.path / "box")
    assert len(delivered(backing / "box")) == 1
    assert not list(Maildir(provider.box).messages())
