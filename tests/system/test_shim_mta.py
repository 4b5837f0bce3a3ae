"""Whole mail systems under the shim, on a mount that refuses links: Postfix and nullmailer, unmodified."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mta import MAIL_USER, Postfix, delivered, need, owned, scratch, wait_for
from shim_support import RUN, as_user

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

COUNT = 20


def message(number: int) -> bytes:
    return b"From: ann@example.com\r\nSubject: message %d\r\n\r\nThe body %d.\r\n" % (number, number)


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


class UnderShim(Postfix):
    """The whole Postfix as a systemd unit would start it, `maildir-safe run -- postfix start-fg`."""

    def __enter__(self) -> Postfix:
        command = [*RUN, "--trace", "--", need("postfix"), "-c", str(self._config), "start-fg"]
        self._shim = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        wait_for("Postfix", self._answers)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._run("postfix", "stop")
        assert self._shim.stderr is not None
        self.trace = self._shim.stderr.read().decode()
        assert self._shim.wait(60) in (0, 128 + signal.SIGTERM)  # which is how `postfix stop` ends it


def _virtual(mount: FaultMount) -> tuple[str, str, Path]:
    uid = pwd.getpwnam(MAIL_USER).pw_uid
    main = (
        f"virtual_mailbox_domains = example.org\nvirtual_mailbox_base = {mount.path}\n"
        f"virtual_mailbox_maps = static:box/\nvirtual_uid_maps = static:{uid}\n"
        f"virtual_gid_maps = static:{uid}\nvirtual_minimum_uid = 1\n"
    )
    return main, "virtual unix - n n - - virtual\n", mount.backing / "box"


def _local(mount: FaultMount) -> tuple[str, str, Path]:
    main = f"mail_spool_directory = {mount.path}/\nlocal_recipient_maps =\n"
    return main.replace("mydestination =", ""), "", mount.backing / MAIL_USER


AGENTS = {"virtual": (_virtual, "bob@example.org"), "local": (_local, f"{MAIL_USER}@mx.example.net")}


@pytest.mark.parametrize(
    "error", [errno.EPERM, errno.EXDEV, errno.EIO, errno.EREMOTEIO], ids=errno.errorcode.get
)
@pytest.mark.parametrize("agent", AGENTS)
def test_postfix(agent: str, error: int, base: Path) -> None:
    make, recipient = AGENTS[agent]
    backing = owned(base / "backing")
    (base / "mount").mkdir()
    with FaultMount(backing, base / "mount") as mount:
        main, master, box = make(mount)
        if agent == "local":
            main += "mydestination = mx.example.net\n"
            (base / "mount").chmod(0o755)
        owned(box, MAIL_USER)
        mount.inject("link", error, times=None)
        with UnderShim(base, main, master) as postfix:
            for number in range(COUNT):
                postfix.send(recipient, message(number))
            postfix.outcome("sent (", COUNT)
            postfix.emptied()
            assert (base / "log").read_text().count("status=sent (") == COUNT
        texts = delivered(box)
        assert len(texts) == COUNT
        for number in range(COUNT):
            assert sum(b"\n\nThe body %d.\n" % number in text for text in texts) == 1
        assert list((box / "tmp").iterdir()) == []
        assert len(mount.fired("link")) >= COUNT
        assert postfix.trace.count("renamed: ") == COUNT
        assert {path.owner() for path in (box / "new").iterdir()} == {MAIL_USER}


@pytest.mark.parametrize("agent", AGENTS)
def test_postfix_without_the_shim(agent: str, base: Path) -> None:
    """The control: virtual defers for ever, and local even returns the mail to its sender."""
    make, recipient = AGENTS[agent]
    backing = owned(base / "backing")
    (base / "mount").mkdir()
    with FaultMount(backing, base / "mount") as mount:
        main, master, box = make(mount)
        if agent == "local":
            main += "mydestination = mx.example.net\n"
        owned(box, MAIL_USER)
        mount.inject("link", errno.EPERM, times=None)
        with Postfix(base, main, master) as postfix:
            postfix.send(recipient, message(1))
            line = postfix.outcome("deferred" if agent == "virtual" else "bounced")
            assert "not permitted" in line
        assert delivered(box) == []


@pytest.fixture(scope="module")
def nullmailer() -> Iterator[Path]:
    """Debian's package, unpacked, since it cannot be installed beside Postfix; set-user-ID mail."""
    with scratch() as path:
        got = subprocess.run(
            ["apt-get", "-q", "download", "nullmailer"], cwd=path, capture_output=True, check=False
        )
        packages = list(path.glob("nullmailer_*.deb"))
        if got.returncode or not packages:
            pytest.skip("nullmailer cannot be downloaded")
        subprocess.run(["dpkg", "-x", str(packages[0]), str(path / "root")], check=True)
        yield path / "root/usr/sbin/nullmailer-queue"


@pytest.mark.parametrize("shim", [False, True], ids=["control", "shim"])
@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV, errno.EIO], ids=errno.errorcode.get)
def test_nullmailer_queue(error: int, shim: bool, nullmailer: Path, base: Path) -> None:
    """Its queue is on the mount, at the path that is compiled in, for the time of the test."""
    assert nullmailer.stat().st_mode & 0o4000
    backing = owned(base / "backing", MAIL_USER)
    for part in ("queue", "tmp", "failed"):
        owned(backing / part, MAIL_USER)
    (base / "mount").mkdir()
    with FaultMount(backing, base / "mount") as mount:
        mount.inject("link", error, times=None)
        (base / "one").write_bytes(b"ann@example.com\nbob@example.org\n\n" + message(1).replace(b"\r", b""))
        each = " ".join(as_user(65534, str(nullmailer)))
        place = (
            "mount -t tmpfs none /var/spool && mkdir /var/spool/nullmailer &&"
            f" mount --rbind {base}/mount /var/spool/nullmailer"
        )
        many = f"r=0; for i in $(seq {COUNT}); do {each} < {base}/one || r=$?; done; exit $r"
        (base / "many").write_text(many)
        run = " ".join([*RUN, "--"]) if shim else ""
        command = ["unshare", "--mount", "sh", "-c", f"{place} && exec {run} sh {base}/many"]
        done = subprocess.run(
            command, capture_output=True, check=False, env={**os.environ, "PYTHON": sys.executable}
        )
        queued = list((backing / "queue").iterdir())
        assert mount.fired("link")
        if shim:
            assert (done.returncode, done.stderr) == (0, b"")
            assert len(queued) == COUNT
            assert all(path.read_bytes().endswith(b"The body 1.\n") for path in queued)
            assert {path.owner() for path in queued} == {MAIL_USER}
            assert list((backing / "tmp").iterdir()) == []
        else:
            assert done.returncode != 0
            assert queued == []
