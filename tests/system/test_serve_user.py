"""`serve --user`: root binds a port below 1024, and no process that touches mail is root's."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path

import pytest
from mta import MAIL_USER, command, need, owned, scratch

GROUP = "daemon"
SEND = """
import smtplib
with smtplib.SMTP("127.0.0.1", 25) as client:
    client.sendmail("me@example.com", ["you@example.com"], "Subject: hello\\n\\nworld\\n")
"""
ON_PORT_25 = 'ip link set lo up; exec "$@"'
"""A network of its own, where port 25 is free, and a port below 1024 as everywhere."""

pytestmark = [
    pytest.mark.mounts,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives root's rights up"),
]


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: words.split() for name, _, words in (line.partition(":") for line in lines)}


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *(one for child in map(int, text.split()) for one in family(child))]


def send(pid: int) -> None:
    """Send a message in the network of a process."""
    subprocess.run(
        [need("nsenter"), f"--target={pid}", "--net", "python3", "-c", SEND], check=True, timeout=60
    )


def test_no_process_keeps_roots_rights() -> None:
    user, group = pwd.getpwnam(MAIL_USER), grp.getgrnam(GROUP)
    with scratch() as base:
        domain = owned(base / "example.com", MAIL_USER)
        maildir, program = domain / "you", command(base)
        subprocess.run([program, "create", maildir, "--owner", MAIL_USER], check=True, timeout=120)
        words = ["serve", "--map", f"{base}/{{domain}}/{{local}}", "--smtp", "127.0.0.1:25"]
        words += ["--workers", "2", "--user", MAIL_USER, "--group", GROUP]
        line = [need("unshare"), "--net", "sh", "-ec", ON_PORT_25, "sh", program, *words]
        log = base / "log"
        with (
            log.open("w") as out,
            subprocess.Popen(line, stdout=subprocess.PIPE, stderr=out, text=True) as process,
        ):
            try:
                assert process.stdout
                banner = [process.stdout.readline() for _ in range(3)]
                assert "127.0.0.1:25\n" in banner[0], (banner, log.read_text())
                send(process.pid)
                them = family(process.pid)
                assert len(them) >= 3  # the first, and two workers
                for status in map(status_of, them):
                    assert status["Uid"] == [str(user.pw_uid)] * 4
                    assert status["Gid"] == [str(group.gr_gid)] * 4
                    assert set(status["Groups"]) == set(map(str, os.getgrouplist(MAIL_USER, group.gr_gid)))
                    assert set(status["CapPrm"] + status["CapEff"] + status["CapAmb"]) == {"0" * 16}
                (message,) = (maildir / "new").iterdir()
                assert (message.stat().st_uid, message.stat().st_gid) == (user.pw_uid, group.gr_gid)
            finally:
                process.terminate()
        assert process.returncode == 0, log.read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--user", "nobody-of-that-name"], "user: there is no user nobody-of-that-name"),
        (["--user", "root"], "user: root is root; name a user without rights"),
        (["--user", MAIL_USER, "--group", "nowhere"], "group: there is no group nowhere"),
        (["--group", GROUP], "group needs user: without it the process stays what it is"),
        (
            ["--user", MAIL_USER, "--tls"],
            "user needs a certificate from a file: one made for this run is root's",
        ),
    ],
)
def test_who_does_not_exist_or_would_not_help(words: list[str], reason: str) -> None:
    with scratch() as base:
        line = [command(base), "serve", base / "Maildir", "--smtp", "127.0.0.1:0", "--no-web", *words]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (1, f"maildir-safe serve: {reason}\n")
        assert not (base / "Maildir").exists()
