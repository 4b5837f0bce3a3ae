"""What runs once a message starts without the standard library's slow modules (`benchmarks.startup`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maildir_safe import Maildir
from tests.spool_support import queued

MESSAGE = b'From: Ann <ann@example.com>\nTo: bob@example.org, "Jo, the (2nd)" <jo@example.org>\n\nbody\n'
SLOW = {
    "argparse", "collections", "contextlib", "ctypes", "dataclasses", "email", "enum", "functools", "hashlib",
    "importlib", "json", "logging", "math", "random", "re", "signal", "socket", "threading", "tomllib",
    "typing", "weakref", "zlib",
}  # fmt: skip
IDLE = (
    "maildir_safe._smtp",
    "maildir_safe._maildir",
    "maildir_safe._queue.admin",
    "maildir_safe._queue.queue",
)
"""Ours that no put needs: each module costs a hundredth of a `sendmail`."""
COMMAND = "from maildir_safe._cli import main; assert main(sys.argv[1:]) == 0"
PUT = "from maildir_safe import Queue; Queue(sys.argv[1]).put(sys.stdin.buffer.read(), 'a@b', ['c@d'])"


def loaded(script: str, *words: str | Path, envelope: bytes = b"") -> set[str]:
    """The modules that a process has loaded at its end, beyond those of a bare interpreter."""
    modules = []
    Path("envelope").write_bytes(envelope)
    for code in (script, "pass"):
        whole = f"import sys\n{code}\nprint(*sys.modules, file=open('modules', 'w'))"
        with open("envelope", "rb") as descriptor_1:  # which qmail-queue reads
            command = [sys.executable, "-c", whole, *map(str, words)]
            done = subprocess.run(
                command, input=MESSAGE, stdout=descriptor_1, stderr=subprocess.PIPE, check=False
            )
        assert (done.returncode, done.stderr) == (0, b"")
        modules.append(set(Path("modules").read_text().split()))
    return modules[0] - modules[1]


@pytest.mark.parametrize("words", [["-ti"], ["-f", "ann@example.com", "bob@example.org"]])
def test_sendmail_starts_without_what_is_slow(
    spool: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(spool.parent)
    Path("aliases").write_text("root: ann\n")
    with Path("sendmail.toml").open("a") as config:
        config.write(f'aliases = "{spool.parent}/aliases"\nmasquerade = "example.org"\n')
    modules = loaded(COMMAND, "sendmail", *words)
    assert not modules & SLOW
    assert not {name for name in modules if name.startswith(IDLE)}
    assert "maildir_safe._queue.store.writer" in modules
    assert len(queued(spool)) == 1


def test_a_put_loads_nothing_that_is_slow(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spool.parent)
    assert not loaded(PUT, spool) & SLOW
    assert len(queued(spool)) == 1


def test_deliver_starts_without_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["-f", "a@b", "-d", "c@d", "--delivery-id", "1"]
    modules = loaded(COMMAND, "deliver", *options, tmp_path / "box")
    assert not modules & SLOW
    assert "maildir_safe._delivery.pipeline" in modules
    assert len(list(Maildir(tmp_path / "box").messages())) == 1


def test_qmail_queue_starts_without_what_is_slow(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spool.parent)
    assert not loaded(COMMAND, "qmail-queue", envelope=b"Fa@b\0Tc@d\0\0") & SLOW
    assert len(queued(spool)) == 1
