"""The Debian package: the same bytes from each build, and from a fresh Debian 12 to mail behind Postfix.

The commands are those of docs/howto/install.md. apt-get runs in a chroot; then the machine boots, with
systemd as its first process and a network of its own, and runs the others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from built import EPOCH, ROOT, copied
from mta import need

from maildir_safe import __version__
from tools.deb import build

PAGE = ROOT / "docs/howto/install.md"
MARK = "<!-- tested by: tests/system/test_deb.py -->"
UNIT = """\
[Unit]
After=postfix.service dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/sh -c "exec sh /root/commands > /root/said 2>&1"
ExecStopPost=/bin/systemctl poweroff
"""
ARRIVED = "timeout 300 sh -c 'until ls /var/lib/maildir-safe/example.org/admin/new/*; do sleep 1; done'"
UPGRADE = """\
mkdir /srv/mail
dpkg -i /root/*.deb > /root/dpkg 2>&1 & until
    kill -0 $! 2> /dev/null || last=yes
    printf 'Subject: hello\\n\\nworld\\n' | maildir-safe deliver /srv/mail/Maildir 2>> /root/reasons; echo $?
    [ "$last" ]
do :; done
wait $!
"""

pytestmark = [pytest.mark.mounts, pytest.mark.timeout(900)]


def documented() -> list[str]:
    found = re.findall(rf"{MARK}\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line[2:] for block in found for line in block.splitlines() if line.startswith("$ ")]


def package(place: Path) -> Path:
    (place / "dist").mkdir(parents=True)
    return build(copied(place / "tree"), place / "dist", EPOCH)


class Debian:
    """A Debian 12 with nothing but what every installation of it has, in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Postfix asks /proc which network protocols there are
        self.enter = ["unshare", "--fork", "--pid", f"--mount-proc={root}/proc", "chroot", str(root)]
        command = [
            need("mmdebstrap"),
            "--quiet",
            "--variant=minbase",
            "--include=systemd-sysv",
        ]
        command += ["--dpkgopt=force-unsafe-io", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def run(self, command: str) -> str:
        """Run a command in /root, where the package is."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        env |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        done = subprocess.run(
            [*self.enter, "sh", "-c", f"cd /root; {command}"],
            env=env, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def boot(self, commands: list[str]) -> str:
        """Boot it, run the commands after Postfix has started, and return what they printed."""
        (self.root / "root/commands").write_text(
            "\n".join(["set -ex", "cd /root", *commands, "echo finished"])
        )
        (self.root / "etc/systemd/system/commands.service").write_text(UNIT)
        wants = self.root / "etc/systemd/system/multi-user.target.wants"
        (wants / "commands.service").symlink_to("../commands.service")
        nspawn = [
            need("systemd-nspawn"),
            "--quiet",
            "--directory",
            str(self.root),
            "--boot",
            "--private-network",
        ]
        nspawn += ["--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off"]
        with subprocess.Popen(nspawn, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            try:
                process.wait(500)
            except subprocess.TimeoutExpired:
                process.terminate()  # it stops what runs in it
        (wants / "commands.service").unlink()
        return (self.root / "root/said").read_text()


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Debian, Path, Path]]:
    """A fresh machine, and two builds, the second with another umask."""
    need("dpkg-buildpackage")
    need("dh_python3")
    place = Path(tempfile.mkdtemp(prefix="deb."))
    try:
        with ThreadPoolExecutor() as pool:
            machine = pool.submit(Debian, place / "root")
            first = package(place / "one")
            before = os.umask(0o077)
            second = package(place / "two")
            os.umask(before)
            yield machine.result(), first, second
    finally:
        shutil.rmtree(place)


def test_two_builds_are_the_same_bytes(made: tuple[Debian, Path, Path]) -> None:
    _, first, second = made
    assert first.name == f"maildir-safe_{__version__}_all.deb"
    assert first.read_bytes() == second.read_bytes()
    listed = subprocess.run(["dpkg-deb", "-c", first], capture_output=True, text=True, check=True).stdout
    for path in (
        "lib/systemd/system/maildir-safe-work@.service",
        "usr/share/bash-completion/completions/maildir-safe",
        "usr/share/man/man1/maildir-safe-deliver.1.gz",
    ):
        assert f" ./{path}\n" in listed
    assert "sbin/sendmail" not in listed
    assert "pycache" not in listed


def test_from_nothing_to_a_service_behind_postfix(
    made: tuple[Debian, Path, Path], record_property: object
) -> None:
    machine, deb, _ = made
    shutil.copy(deb, machine.root / "root")
    commands = documented()
    assert len(commands) == 9
    begun = time.monotonic()
    for command in commands[:2]:
        machine.run(command)
    config = machine.root / "etc/maildir-safe/serve.toml"
    assert config.read_text().startswith("# /etc/maildir-safe/serve.toml")
    (settings,) = re.findall(r"<!-- config: serve -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    config.write_text(settings)
    checks = [
        "systemctl show -P StatusText -P NRestarts maildir-safe-serve",
        "journalctl -u maildir-safe-serve",
    ]
    checks += [
        "systemctl is-enabled maildir-safe-serve maildir-safe-clean.timer || true",
        "dpkg -S /usr/sbin/sendmail",
    ]
    said = machine.boot([*commands[2:-1], ARRIVED, commands[-1], *checks])
    seconds = time.monotonic() - begun
    record_property("note", f"from apt-get to the first mail on Debian 12: {seconds:.0f} s")  # type: ignore[operator]
    assert said.endswith("\nfinished\n"), said
    listed = said.partition("+ maildir-safe ls")[2].partition("\n+ ")[0]
    assert "hello" in listed, said
    assert "\nenabled\ndisabled\n" in said
    assert "postfix: /usr/sbin/sendmail" in said
    assert re.search(r'stored .*recipients=\["admin@example.org"\].*reply="250 ', said), said
    _upgrade_and_purge(machine, settings)


def _upgrade_and_purge(machine: Debian, settings: str) -> None:
    """Mail that comes while dpkg replaces the files is delivered or waits; the settings and the mail stay."""
    codes = machine.run(UPGRADE).split()
    delivered = list((machine.root / "srv/mail/Maildir/new").iterdir())
    assert set(codes) <= {"0", "75"}, (machine.root / "root/reasons").read_text()
    assert codes.count("0") == len(delivered) > 1
    assert (machine.root / "etc/maildir-safe/serve.toml").read_text() == settings
    machine.run("dpkg --purge maildir-safe")
    assert not (machine.root / "etc/maildir-safe/serve.toml").exists()
    kept = machine.root / "var/lib/maildir-safe/example.org/admin/new"
    assert len(list(kept.iterdir())) == 1
