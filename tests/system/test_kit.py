"""The files of examples/two-hosts, as the programs that read them see them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mta import need

KIT = Path(__file__).parents[2] / "examples" / "two-hosts"
UNITS = Path(__file__).parents[2] / "packaging" / "systemd"

pytestmark = pytest.mark.mounts


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    words = need(str(words[0])), *words[1:]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def interface() -> str:
    """A network interface of this machine, such as eth0."""
    names = sorted(path.name for path in Path("/sys/class/net").iterdir() if path.name != "lo")
    if not names:
        pytest.skip("no network interface")
    return names[0]


def test_haproxy_takes_its_file(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text((KIT / "haproxy.cfg").read_text())
    done = run("haproxy", "-c", "-f", config)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    config.write_text(config.read_text().replace("balance leastconn", "balance least"))
    assert run("haproxy", "-c", "-f", config).returncode != 0


def test_keepalived_takes_its_file(tmp_path: Path) -> None:
    config = tmp_path / "keepalived.conf"
    config.write_text((KIT / "keepalived.conf").read_text().replace("eth0", interface()))
    config.chmod(0o600)
    done = run("keepalived", "--config-test", "--use-file", config)
    assert done.returncode == 0, done.stdout + done.stderr
    config.write_text(config.read_text().replace("virtual_router_id 25", "virtual_router_id 999"))
    assert run("keepalived", "--config-test", "--use-file", config).returncode != 0


def test_systemd_takes_the_mount_and_the_drop_in(tmp_path: Path) -> None:
    shutil.copy(KIT / "srv-mail.mount", tmp_path)
    for name in ("maildir-safe-serve.service", "maildir-safe-work@.service"):
        # what the unit starts is not installed here
        text = (UNITS / name).read_text().replace("/usr/local/bin/maildir-safe", "/bin/true")
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.d").mkdir()
        shutil.copy(KIT / "mail.conf", tmp_path / f"{name}.d")
    names = ("srv-mail.mount", "maildir-safe-serve.service", "maildir-safe-work@mail.service")
    done = run("systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in names))
    assert str(tmp_path) not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
