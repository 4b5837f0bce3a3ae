"""A real Exim delivers by `maildir-safe deliver`, as docs/howto/mail-servers.md tells it to.

Debian has either Exim or Postfix installed, never both: Exim's package is fetched and unpacked, not
installed, and Exim runs as its own user without any privilege.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mta import command, delivered, documented, need, owned, scratch
from smtp_support import Serve

from maildir_safe import Maildir
from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

PACKAGE = "exim4-daemon-light"
UID = 65530  # of Debian-exim, which the program wants to find in /etc/passwd
MESSAGE = "From: ann@example.com\nSubject: one message\n\nThe body.\n"
CONFIG = """
spool_directory = {base}/spool
log_file_path = {base}/spool/%slog
exim_path = {exim}
primary_hostname = mx.example.net
domainlist local_domains = example.org
deliver_drop_privilege = true
keep_environment =
begin routers
{router}
begin transports
{transport}
begin retry
*  *  F,1h,1m
"""


class Exim:
    """A private Exim without a daemon: each message is handed in, and tried at once."""

    def __init__(
        self, base: Path, program: Path, vhosts: Path, routing: tuple[str, str] | None = None, **replace: str
    ) -> None:
        self._base = base
        (base / "mailboxes").write_text("bob: bob\n")
        (base / "passwd").write_text(
            f"root:x:0:0::/:/bin/sh\nDebian-exim:x:{UID}:{UID}::/:/usr/sbin/nologin\n"
        )
        (base / "group").write_text(f"root:x:0:\nDebian-exim:x:{UID}:\n")
        router, transport = routing or self._documented(vhosts, replace)
        config = CONFIG.format(base=base, exim=program, router=router, transport=transport)
        (base / "exim.conf").write_text(config)
        self._program = [str(program), "-C", str(base / "exim.conf")]
        owned(base / "spool", UID)

    def _documented(self, vhosts: Path, replace: dict[str, str]) -> tuple[str, str]:
        router = documented("exim-router", **{"/etc/exim4/mailboxes": f"{self._base}/mailboxes"})
        replace = {"command": command(self._base), "vhosts": str(vhosts), "user = vmail": "", **replace}
        return router, documented("exim-transport", **replace)

    def send(self, sender: str, message: str = MESSAGE) -> None:
        """Hand in a message for bob, and try to deliver it."""
        self._run("-odi", "-f", sender, "bob@example.org", message=message)

    def retry(self) -> None:
        """Try all deferred mail now."""
        self._run("-qff")

    def queue(self) -> int:
        """How many messages are waiting."""
        return int(self._run("-bpc"))

    def log(self) -> str:
        """The main log."""
        return (self._base / "spool/mainlog").read_text()

    def _run(self, *words: str, message: str = "") -> str:
        private = (
            f"mount --bind {self._base}/passwd /etc/passwd && mount --bind {self._base}/group /etc/group"
        )
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        script = ["sh", "-c", f'{private} && exec "$@"', "sh", *user, *self._program, *words]
        done = subprocess.run(
            ["unshare", "--mount", *script],
            input=message,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    installed = shutil.which("exim4", path="/usr/sbin")
    if installed:
        yield Path(installed)
        return
    with scratch() as directory:
        subprocess.run([need("apt-get"), "-q", "download", PACKAGE], cwd=directory, check=True)
        (package,) = directory.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, directory], check=True)
        yield directory / "usr/sbin/exim4"


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


def test_delivers_once_with_the_envelope_on_top(base: Path, program: Path) -> None:
    domain = owned(base / "example.org", UID)
    exim = Exim(base, program, base)
    exim.send("ann@example.com")
    exim.send("<>")
    first, second = delivered(domain / "bob")
    assert first.startswith(b"Return-Path: <ann@example.com>\nDelivered-To: bob@example.org\nReceived: ")
    assert second.startswith(b"Return-Path: <>\nDelivered-To: bob@example.org\nReceived: ")
    assert first.endswith(b"\n\nThe body.\n")
    assert exim.queue() == 0


def test_sends_to_our_server_in_chunks(base: Path, program: Path, tmp_path: Path) -> None:
    serve = Serve(tmp_path)
    port = serve.address.rpartition(":")[2]
    router = "there:\n driver = manualroute\n route_list = * 127.0.0.1\n self = send\n transport = smtp\n"
    transport = f"smtp:\n driver = smtp\n port = {port}\n allow_localhost\n"
    exim = Exim(base, program, base, (router, transport))
    text = "..\n.dot\nRSET\n" + "long line " * 90 + "\n" + "many lines\n" * 20_000
    exim.send("ann@example.com", f"Subject: in chunks\n\n{text}")
    assert ' K C="250' in exim.log()  # K: by BDAT
    (message,) = Maildir(tmp_path / "Maildir", create=False).messages()
    with Maildir(tmp_path / "Maildir").open(message.key) as file:
        assert file.read().endswith(b"\n\n" + text.encode())
    assert serve.end()[0] == 0


def test_loop_is_bounced(base: Path, program: Path) -> None:
    domain = owned(base / "example.org", UID)
    exim = Exim(base, program, base)
    exim.send("<>", "Delivered-To: bob@example.org\n" + MESSAGE)
    assert " ** bob@example.org" in exim.log()
    assert "5.4.6 mail loop" in exim.log()
    assert not (domain / "bob").exists()


def test_wrong_option_defers(base: Path, program: Path) -> None:
    owned(base / "example.org", UID)
    exim = Exim(base, program, base, **{"--delivery-id": "--delivery-identity"})
    exim.send("ann@example.com")
    assert " == bob@example.org" in exim.log()
    assert "4.3.5 '--delivery-identity'" in exim.log()
    assert exim.queue() == 1


def test_command_that_is_not_there_is_no_reason_to_bounce(base: Path, program: Path) -> None:
    owned(base / "example.org", UID)
    exim = Exim(base, program, base, command="/nonexistent/maildir-safe")
    exim.send("ann@example.com")
    assert " ** " not in exim.log()
    assert exim.queue() == 1


def test_unclear_outcome_and_exims_own_retry_make_one_copy(base: Path, program: Path) -> None:
    backing = base / "backing"
    backing.mkdir()
    owned(backing / "example.org", UID)
    with FaultMount(backing) as mount:
        exim = Exim(base, program, mount.path)
        exim.send("ann@example.com")
        mount.inject("fsyncdir", errno.EIO, name="example.org/bob/new")
        exim.send("ann@example.com")
        assert mount.fired("fsyncdir")
        assert exim.queue() == 1
        assert len(delivered(backing / "example.org/bob")) == 2
        exim.retry()
        assert exim.queue() == 0
        assert len(delivered(backing / "example.org/bob")) == 2
