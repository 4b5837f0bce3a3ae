"""Debian's whole courier-mta, unmodified, under the shim; its user's Maildir is on a mount without links.

Its packages cannot be installed beside another mail server, so they are unpacked and laid over the system's
directories in a mount namespace of their own.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mta import scratch, wait_for
from shim_support import RUN, need

from maildir_safe.testing.faultmount import FaultMount

pytestmark = pytest.mark.mounts

COUNT = 20
BOB = 4400
PACKAGES = ("courier-mta", "courier-base", "courier-authdaemon")

ROOM = """
set -e
mount -t tmpfs none {base}/up
for part in usr etc var/lib; do
  mkdir -p {base}/up/$part {base}/up/work/$part
  dirs=lowerdir={root}/$part:/$part,upperdir={base}/up/$part,workdir={base}/up/work/$part
  mount -t overlay -o $dirs overlay /$part
done
mount -t tmpfs none /run
mkdir -p /run/courier/authdaemon
chown -R courier:courier /run/courier
echo "bob:x:{bob}:{bob}::{home}:/bin/sh" >> /etc/passwd
for file in me locals defaultdomain; do echo mx.example.net > /etc/courier/$file; done
echo 'postmaster: bob' > /etc/courier/aliases/system
sed -i 's/^authmodulelist=.*/authmodulelist="authpam"/' /etc/courier/authdaemonrc
chgrp courier /usr/sbin/sendmail
chmod 2755 /usr/sbin/sendmail
chown courier:courier /usr/lib/courier/courier/submitmkdir
chmod 4755 /usr/lib/courier/courier/submitmkdir
for part in allfilters filters msgq msgs track tmp; do
  chown courier:courier /var/lib/courier/$part
  chmod 770 /var/lib/courier/$part
done
chown root:courier /etc/courier/aliases /etc/courier/aliases/system /etc/courier/aliasdir
exec "$@"
"""
MAIL_SYSTEM = r"""
/usr/sbin/makealiases
/usr/sbin/authdaemond start
until [ -S /run/courier/authdaemon/socket ]; do sleep 0.1; done  # until then every address is refused
cd /usr
env -i sh -c 'set -a; . /etc/courier/courierd; exec /usr/lib/courier/courier/courierd' &
for i in $(seq {count}); do
  /usr/sbin/sendmail -f ann@mx.example.net bob@mx.example.net < {base}/in/$i || exit 9
done
until [ -e {base}/enough ]; do sleep 0.1; done
for i in $(seq 600); do  # courierd takes what was sent into its queue a little later
  mailq > {base}/mailq
  grep -q '^ *{left} messages\.$' {base}/mailq && break
  sleep 0.1
done
cat {base}/mailq
/usr/sbin/courier stop
/usr/sbin/authdaemond stop
"""


def message(number: int) -> bytes:
    return b"From: ann@mx.example.net\nSubject: %d\n\nThe body %d.\n" % (
        number,
        number,
    )


@pytest.fixture(scope="module")
def courier() -> Iterator[Path]:
    """Debian's packages, unpacked."""
    need("unshare")
    try:
        pwd.getpwnam("courier")
    except KeyError:
        pytest.skip("courier-authlib is not installed, which comes with maildrop")
    with scratch() as path:
        got = subprocess.run(
            ["apt-get", "-q", "download", *PACKAGES], cwd=path, capture_output=True, check=False
        )
        if got.returncode:
            pytest.skip("courier-mta cannot be downloaded")
        for package in path.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(path / "root")], check=True)
        yield path / "root"


@pytest.mark.parametrize("shim", [False, True], ids=["control", "shim"])
@pytest.mark.parametrize("error", [errno.EPERM, errno.EIO, errno.EREMOTEIO], ids=errno.errorcode.get)
def test_courier(error: int, shim: bool, courier: Path) -> None:
    with scratch() as base:
        for part in ("in", "up", "mount"):
            (base / part).mkdir()
        for number in range(1, COUNT + 1):
            (base / f"in/{number}").write_bytes(message(number))
        box = base / "backing/bob/Maildir"
        for part in ("tmp", "new", "cur"):
            (box / part).mkdir(parents=True)
        for path in (box, *box.iterdir(), box.parent):
            os.chown(path, BOB, BOB)
        (base / "backing").chmod(0o755)
        with FaultMount(base / "backing", base / "mount") as mount:
            mount.inject("link", error, times=None)
            names = {"base": base, "root": courier, "home": base / "mount/bob", "bob": BOB, "count": COUNT}
            names["left"] = 0 if shim else COUNT
            (base / "room").write_text(ROOM.format(**names))
            (base / "system").write_text(MAIL_SYSTEM.format(**names))
            prefix = [*RUN, "--trace", "--"] if shim else []
            words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", str(base / "room")]
            words += [*prefix, "sh", str(base / "system")]
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
                try:  # after a failure courier waits for minutes before it tries that mailbox again
                    wait_for("the first link", lambda: mount.fired("link"), 120)
                    if shim:
                        wait_for("the mail", lambda: len(list((box / "new").iterdir())) == COUNT, 120)
                finally:
                    (base / "enough").touch()
                    out, trace = run.communicate(timeout=120)
        texts = [path.read_bytes() for path in (box / "new").iterdir()]
        queued = re.search(r"^ *(\d+) messages\.$", out, re.MULTILINE)
        assert queued, out + trace
        assert queued[1] == str(names["left"])
        if shim:
            assert len(texts) == COUNT
            for number in range(1, COUNT + 1):
                assert sum(text.endswith(b"\n\nThe body %d.\n" % number) for text in texts) == 1
            assert {path.stat().st_uid for path in (box / "new").iterdir()} == {BOB}
            assert list((box / "tmp").iterdir()) == []
            assert trace.count("renamed: ") == COUNT
        else:
            assert texts == []
