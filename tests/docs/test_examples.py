"""Every file of examples/ is run here, and listed in its README."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from blocks import REPOSITORY
from smtp_support import Serve

from maildir_safe import Maildir, Queue
from maildir_safe._smtp.server.settings import Settings, read

EXAMPLES = REPOSITORY / "examples"


def run(name: str, *words: str | Path, code: int = 0) -> str:
    """Run an example; its output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_every_example_is_listed_and_run() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    listed = (EXAMPLES / "README.md").read_text()
    here = Path(__file__).read_text()
    assert [name for name in names if f"({name})" not in listed or f'"{name}"' not in here] == []


def test_two_hosts() -> None:
    """Every file of the kit is listed, and the settings are such. tests/system/test_failover.py runs them."""
    kit = EXAMPLES / "two-hosts"
    listed = (kit / "README.md").read_text()
    names = {path.name for path in kit.iterdir()} - {"README.md"}
    assert [name for name in names if f"({name})" not in listed] == []
    settings = Settings(**read(str(kit / "serve.toml")))
    settings.check()
    assert settings.queue == "/srv/mail/spool"


def test_deliver_with_retry(tmp_path: Path) -> None:
    outgoing, target = tmp_path / "outgoing", tmp_path / "mail" / "ann"
    outgoing.mkdir()
    (outgoing / "one").write_bytes(b"Subject: one\n\n")
    run("deliver_with_retry.py", outgoing, target, code=75)  # the share is not mounted
    assert [path.name for path in outgoing.iterdir()] == ["one"]
    target.parent.mkdir()
    run("deliver_with_retry.py", outgoing, target)
    assert list(outgoing.iterdir()) == []
    (outgoing / "one").write_bytes(b"Subject: one\n\n")  # as after a crash between delivery and removal
    run("deliver_with_retry.py", outgoing, target)
    assert len(list(Maildir(target).messages())) == 1


@pytest.mark.mounts  # make test-mounts installs node
def test_a_test_in_javascript(tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    words = [node, EXAMPLES / "signup.mjs", serve.told("Inbox")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "Welcome 481206 https://shop.example/confirm/42\n", done.stderr
    assert serve.end()[0] == 0


ZOPE_SENDS = """
import sys, transaction
from email.message import EmailMessage
from zope.sendmail.delivery import QueuedMailDelivery as Zope
from repoze.sendmail.delivery import QueuedMailDelivery as Repoze
for kind in Zope, Repoze:
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = kind.__module__, f"<{kind.__module__}@example.org>"
    message.set_content("body")
    content = message.as_bytes() if kind is Zope else message
    kind(sys.argv[1]).send("shop@example.org", ["ada@example.org", "bob@example.org"], content)
    transaction.commit()
"""


@pytest.mark.mounts  # it installs packages
def test_zope_sendmail(tmp_path: Path) -> None:
    """What the real packages have queued is in the spool, each once, also after a crash."""
    venv, box, spool = tmp_path / "v", tmp_path / "box", tmp_path / "spool"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    packages = ["zope.sendmail==7.3", "repoze.sendmail==4.5"]
    subprocess.run([venv / "bin/pip", "install", "-q", *packages], check=True)
    subprocess.run([venv / "bin/python", "-c", ZOPE_SENDS, box], check=True)
    shutil.copytree(box, tmp_path / "again")
    assert run("zope_sendmail.py", box, spool) == "2 messages\n"
    assert run("zope_sendmail.py", tmp_path / "again", spool) == "2 messages\n"
    assert list(Maildir(box).messages()) == []
    with Queue(spool) as queue:
        claims = queue.claim(9)
        assert len(claims) == 2
        for claim in claims:
            assert claim.envelope.sender == "shop@example.org"
            assert claim.envelope.recipients == ("ada@example.org", "bob@example.org")
            message = claim.read()
            assert message.count(b"\nSubject: ") + message.startswith(b"Subject: ") == 1
            assert b"X-Zope" not in message
            assert b"X-Actually" not in message
            assert message.endswith(b"\n\nbody\n")


def test_deliver_async(tmp_path: Path) -> None:
    assert run("deliver_async.py", tmp_path / "Maildir").startswith("1000 delivered, durability ")
    assert len(list(Maildir(tmp_path / "Maildir").messages())) == 1000


def test_count_unread(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "Maildir")
    maildir.deliver(b"Subject: first\n\n")
    maildir.deliver(b"Subject: second\n\n")
    maildir.deliver(b"Subject: read\n\n", flags="S", folder="Archive")
    output = run("count_unread.py", maildir.path)
    assert output == "inbox: 2 unread, the newest about second\nArchive: 0 unread\n"


def test_courier(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\ncat >> "{tmp_path}/taken"; echo "$@" >> "{tmp_path}/taken"; exit "$(cat code)"\n'
    )
    program.chmod(0o755)
    with Queue(tmp_path / "spool") as queue:
        ident = queue.put(b"Subject: hello\n\n", "", ["ann@example.org"])
    os.chdir(tmp_path)
    (tmp_path / "code").write_text("75")
    run("courier.py", tmp_path / "spool", program)
    with Queue(tmp_path / "spool") as queue:
        assert queue.find(ident).state == "pending"
        queue.retry(ident)
    (tmp_path / "code").write_text("0")
    run("courier.py", tmp_path / "spool", program)
    assert (tmp_path / "taken").read_text() == "Subject: hello\n\nann@example.org\n" * 2
    with Queue(tmp_path / "spool") as queue:
        assert list(queue.items()) == []


def test_the_pytest_example(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "test_signup.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.mounts  # make test-mounts installs chromium
def test_the_example_with_a_browser(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    assert chromium
    words = ["-q", "-p", "no:cacheprovider", EXAMPLES / "test_signup_browser.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={**os.environ, "CHROMIUM": chromium},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_the_configuration_is_read() -> None:
    from maildir_safe._smtp.server.settings import Settings, read

    name = "serve.toml"
    found = read(str(EXAMPLES / name))
    Settings(**found).check()
    assert found["keep"] == 1000
    assert found.keys() == {key.replace("-", "_") for key in tomllib.loads((EXAMPLES / name).read_text())}
