"""The units of packaging/systemd: systemd accepts them, they are hardened, and the programs live with it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest
from mta import need
from smtp_support import COMMAND, stored

from maildir_safe import Maildir, Queue
from maildir_safe._smtp.server import settings
from tools.parsers import parser_of

UNITS = Path(__file__).parents[2] / "packaging/systemd"
SERVICES = ("maildir-safe-serve.service", "maildir-safe-work@.service", "maildir-safe-clean.service")
STRACE = ["strace", "-f", "-qq", "-o"]
WORST = 3.0
"""What `systemd-analyze security` may say at most; 10 is no protection at all."""


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"(?m)^{key}=(.*)$", (UNITS / unit).read_text())


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a command that exists here, and an instance of the template."""
    command = shutil.which("maildir-safe", path=str(Path(sys.executable).parent))
    assert command
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.timer"), *UNITS.glob("*.socket")]:
        text = path.read_text().replace("/usr/local/bin/maildir-safe", command)
        (tmp_path / path.name.replace("@", "@x")).write_text(text)
    return tmp_path


@pytest.mark.parametrize("unit", SERVICES)
def test_the_command_of_a_unit_is_understood(unit: str) -> None:
    (command,) = values(unit, "ExecStart")
    program, verb, *words = command.replace("$WORK", "--to smtp://relay.example.org:25").split()
    assert program == "/usr/local/bin/maildir-safe"
    args = parser_of(verb).parse_args([word for word in words if word != "--"])
    assert args.__dict__


def test_the_settings_that_are_shipped_are_valid() -> None:
    found = settings.Settings(**settings.read(str(UNITS / "serve.toml")))
    found.check()
    assert found.web == ""
    state, runtime = "/var/lib/maildir-safe", "/run/maildir-safe"
    assert found.maildir.startswith(state)
    assert all(address.startswith(runtime) for address in found.lmtp)
    assert values("maildir-safe-serve.service", "StateDirectory") == ["maildir-safe"]
    assert values("maildir-safe-serve.service", "RuntimeDirectory") == ["maildir-safe"]


@pytest.mark.mounts
def test_systemd_finds_nothing_wrong(units: Path) -> None:
    names = sorted(str(path) for path in units.iterdir())
    assert len(names) == 5
    done = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.mounts
@pytest.mark.parametrize("unit", SERVICES)
def test_they_are_hardened(unit: str, units: Path, record_property: object) -> None:
    path = units / unit.replace("@", "@x")
    done = subprocess.run(
        [need("systemd-analyze"), "security", "--offline=true", "--no-pager", path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    score = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
    assert score, done.stdout
    record_property("note", f"systemd-analyze security {unit}: {score[1]} (wanted: at most {WORST})")  # type: ignore[operator]
    assert float(score[1]) <= WORST


@pytest.mark.mounts
def test_sysusers_makes_the_user_of_the_units(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    conf = UNITS / "maildir-safe.sysusers.conf"
    subprocess.run([need("systemd-sysusers"), f"--root={tmp_path}", conf], check=True, capture_output=True)
    users = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    (made,) = [user for user in users if user[0] == "maildir-safe"]
    assert made[5] == "/var/lib/maildir-safe"
    assert made[6].endswith("nologin")
    assert {value for unit in SERVICES for value in values(unit, "User")} == {"maildir-safe"}


def system_calls(group: str) -> set[str]:
    """The system calls of a group of systemd's filters."""
    done = subprocess.run(
        [need("systemd-analyze"), "syscall-filter", "--no-pager", group],
        capture_output=True,
        text=True,
        check=True,
    )
    found: set[str] = set()
    for name in re.findall(r"(?m)^ +(@?[a-z_0-9-]+)$", done.stdout):
        found |= system_calls(name) if name.startswith("@") else {name}
    return found


def traced(pid_log: Path) -> tuple[set[str], list[str]]:
    """The system calls of a trace, and those lines that MemoryDenyWriteExecute= would refuse."""
    text = pid_log.read_text(errors="replace")
    names = set(re.findall(r"(?m)^\d+ +([a-z_0-9]+)\(", text))
    writable = re.findall(r"(?m)^.* mmap\(.*PROT_WRITE\|PROT_EXEC.*$|^.* mprotect\(.*PROT_EXEC.*$", text)
    return names, writable


@pytest.mark.mounts
def test_what_serve_and_work_call_is_allowed(tmp_path: Path) -> None:
    """The filters of the units against a trace of deliveries by SMTP, into a Maildir and through a queue."""
    for unit in SERVICES:
        assert values(unit, "SystemCallFilter") == ["@system-service", "~@privileged @resources"]
    allowed = system_calls("@default") | system_calls("@system-service")
    allowed -= (system_calls("@privileged") | system_calls("@resources")) - system_calls("@default")
    need("strace")
    with Queue(tmp_path / "spool"):
        pass
    maildir = Maildir(tmp_path / "out")
    names: set[str] = set()
    for number, flags in enumerate((["Maildir"], ["--queue", "spool", "--workers", "2"])):
        log = tmp_path / f"trace.{number}"
        command = [*STRACE, log, *COMMAND, "--no-web", "--smtp", "127.0.0.1:0", *flags]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as strace:
            assert strace.stdout
            port = int(strace.stdout.readline().rpartition(":")[2])
            strace.stdout.readline()  # the storage
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.sendmail("a@example.org", ["b@example.org"], b"Subject: hello\r\n\r\nworld\r\n")
            (server,) = children(strace.pid)
            os.kill(server, signal.SIGTERM)
        assert strace.returncode == 0
        found, refused = traced(log)
        assert refused == []
        names |= found
    log = tmp_path / "trace.work"
    work = [
        sys.executable,
        "-m",
        "maildir_safe",
        "work",
        f"{tmp_path}/spool",
        "--to",
        f"maildir:{maildir.path}",
    ]
    subprocess.run([*STRACE, log, *work, "--once"], check=True)
    found, refused = traced(log)
    assert (len(stored(tmp_path / "out")), refused) == (1, [])
    assert {"renameat", "renameat2"} & (names | found)
    assert {"fsync"} <= names
    assert (names | found) - allowed == set()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
