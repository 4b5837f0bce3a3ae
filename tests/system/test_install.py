"""The commands of docs/howto/install.md and of the Dockerfile, run below a directory of their own."""

from __future__ import annotations

import json
import os
import re
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from built import ROOT, built, copied
from mta import MAIL_USER, scratch

from maildir_safe import __version__

PAGE = ROOT / "docs/howto/install.md"
CONTAINER = ROOT / "packaging/container"
NEXT = "99.0"


def documented() -> list[str]:
    """The commands that this file tests, in their order."""
    found = re.findall(
        r"<!-- tested by: tests/system/test_install.py -->\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    return [line[2:] for block in found for line in block.splitlines() if line.startswith("$ ")]


class Machine:
    """A root directory with its /opt, /usr/local, /etc and /var/lib, and the two wheels in /."""

    def __init__(self, root: Path) -> None:
        self.root = root
        tree = copied(root / "tree")
        self.wheels = [path for path in built(tree, root / "dist") if path.suffix == ".whl"]
        init = tree / "maildir_safe/__init__.py"
        init.write_text(init.read_text().replace(f'"{__version__}"', f'"{NEXT}"'))
        self.wheels += [path for path in built(tree, root / "dist2") if path.suffix == ".whl"]
        for wheel in self.wheels:
            (root / wheel.name).write_bytes(wheel.read_bytes())
        for name in ("opt", "usr/local/bin", "etc/systemd/system", "var/lib/maildir-safe"):
            (root / name).mkdir(parents=True)

    def here(self, text: str) -> str:
        """A text with the paths of this machine, and the user that there is."""
        text = re.sub(r"(?<![\w/.])/(opt|usr/local|etc|var/lib)/", rf"{self.root}/\1/", text)
        text = text.replace("-o maildir-safe -g maildir-safe", f"-o {MAIL_USER} -g {MAIL_USER}")
        return text.replace("--owner maildir-safe", f"--owner {MAIL_USER}").replace("NEW", NEXT)

    def run(self, command: str) -> str:
        env = {"PATH": f"{self.root}/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.root)}
        env |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        done = subprocess.run(
            ["sh", "-c", self.here(command)],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with scratch() as root:
        yield Machine(root)


@pytest.mark.mounts
@pytest.mark.timeout(900)
def test_install_upgrade_service_and_maildirs(machine: Machine) -> None:
    commands = documented()
    assert len(commands) == 19
    said = [(command, machine.run(command)) for command in commands]
    versions = [output for command, output in said if command.endswith("--version")]
    assert versions == [f"maildir-safe {__version__}\n", f"maildir-safe {NEXT}\n"]
    assert f"maildir-safe {__version__}\n" in PAGE.read_text()
    assert machine.run("maildir-safe --version") == f"maildir-safe {NEXT}\n"
    assert machine.run(f"/opt/maildir-safe-{__version__}/bin/maildir-safe --version") == versions[0]
    units = {path.name for path in (machine.root / "etc/systemd/system").iterdir()}
    assert {"maildir-safe-serve.service", "maildir-safe-work@.service", "maildir-safe-clean.timer"} <= units
    assert (machine.root / "usr/local/share/man/man1/maildir-safe-serve.1").exists()
    made = machine.root / "var/lib/maildir-safe/example.org/admin"
    assert made.owner() == MAIL_USER
    _takes_mail_by_lmtp(machine, made)


def _takes_mail_by_lmtp(machine: Machine, maildir: Path) -> None:
    config = re.search(r"<!-- config: serve -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert config
    assert "lmtp:inet:127.0.0.1:24\n" in PAGE.read_text()
    settings = machine.root / "etc/maildir-safe/serve.toml"
    assert settings.read_text().startswith("# /etc/maildir-safe/serve.toml")
    settings.write_text(machine.here(config[1]).replace("127.0.0.1:24", "127.0.0.1:0"))
    command = [machine.root / "usr/local/bin/maildir-safe", "serve", "--config", settings]
    with subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, text=True, user=MAIL_USER) as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        process.stdout.readline()
        with smtplib.LMTP("127.0.0.1", port) as client:
            client.sendmail("a@example.org", ["postmaster@example.org"], b"Subject: hello\r\n\r\nworld\r\n")
        process.terminate()
    assert process.returncode == 0
    assert len(list((maildir / "new").iterdir())) == 1


def instructions(name: str) -> list[str]:
    """The arguments of the Dockerfile's instructions with this name."""
    return re.findall(rf"(?m)^{name} (.*)$", (CONTAINER / "Dockerfile").read_text())


def test_the_container_has_no_rights_and_a_health_check() -> None:
    assert instructions("USER") == ["maildir-safe"]
    assert instructions("VOLUME") == ["/mail"]
    assert instructions("EXPOSE") == ["1025 8025"]
    assert len(instructions("HEALTHCHECK")) == 1
    compose = (CONTAINER / "compose.yaml").read_text()
    assert all(
        text in compose for text in ("cap_drop: [ALL]", "no-new-privileges:true", '"127.0.0.1:1025:1025"')
    )


@pytest.mark.mounts
@pytest.mark.timeout(900)
def test_the_steps_of_the_dockerfile(machine: Machine) -> None:
    """Without docker: the installation from what .dockerignore leaves, the command, the health check."""
    source = machine.root / "source"
    source.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            (source / line[1:]).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", ROOT / line[1:], source / line[1:]], check=True)
    (install,) = [step for step in instructions("RUN") if "pip" in step]
    target = machine.root / "opt/container"
    install = install.replace("/opt/maildir-safe", str(target)).replace("/source", str(source))
    machine.run(install.replace("python -m", "python3 -m"))
    mail = machine.root / "mail"
    mail.mkdir()
    os.chown(mail, 1000, -1)
    words = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[0])]
    words = [re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", word).replace("/mail/", f"{mail}/") for word in words]
    (check,) = instructions("HEALTHCHECK")
    healthy = json.loads(check.partition("CMD ")[2])
    with subprocess.Popen([target / "bin" / words[0], *words[1:]], cwd="/", stdout=subprocess.PIPE, text=True,
                          user=1000, env={"PATH": f"{target}/bin:/usr/bin"}) as process:  # fmt: skip
        assert process.stdout
        banner = [process.stdout.readline() for _ in range(3)]
        page = re.search(r"http://\S+", "".join(banner))
        assert page, banner
        healthy = [
            target / "bin/python",
            *(w.replace("http://127.0.0.1:8025/", page[0]) for w in healthy[1:]),
        ]
        assert subprocess.run(healthy, check=False).returncode == 0
        process.terminate()
    assert process.returncode == 0
    assert subprocess.run(healthy, check=False, capture_output=True).returncode == 1
