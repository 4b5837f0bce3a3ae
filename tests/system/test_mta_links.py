"""No hard link is ever asked for: strace over deliveries of every kind, with a control that is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mta import delivered, need

pytestmark = pytest.mark.mounts

OURS = """
import asyncio, io, sys
from maildir_safe import Maildir
box = Maildir(sys.argv[1])
box.deliver(b"one", delivery_id="x", sender="a@b", recipient="c@d")
box.deliver(b"one", delivery_id="x")
box.deliver(io.BytesIO(b"s" * 1000000), flags="S")
box.deliver(b"in a folder", folder="Archive")
box.deliver_many([b"many"] * 40)
async def crowd():
    await asyncio.gather(*(box.deliver_async(b"crowd") for _ in range(40)))
asyncio.run(crowd())
for message in list(box.messages())[:10]:
    box.set_flags(message.key, "R")
    box.move(message.key, "Archive")
Maildir(sys.argv[1] + "-new", staging="new").deliver(b"staged in new")
box.clean()
"""
STDLIB = "import mailbox, sys; mailbox.Maildir(sys.argv[1]).add(b'one')"


def links(tmp_path: Path, *command: str, stdin: bytes = b"") -> list[str]:
    """The link() and linkat() calls of a command, which must succeed, and of its children."""
    log = tmp_path / "strace"
    trace = [need("strace"), "-f", "-o", str(log), "-e", "trace=link,linkat"]
    subprocess.run([*trace, *command], input=stdin, check=True)
    return [line for line in log.read_text().splitlines() if "link" in line]


def test_library(tmp_path: Path) -> None:
    assert links(tmp_path, sys.executable, "-c", OURS, str(tmp_path / "box")) == []
    assert len(delivered(tmp_path / "box")) + len(list((tmp_path / "box/.Archive/cur").iterdir())) > 80


def test_command(tmp_path: Path) -> None:
    code = "import sys; from maildir_safe._cli import main; sys.exit(main())"
    for words in (["-f", "a@b", "-d", "c@d"], ["--delivery-id", "x"], ["-m", "Archive"]):
        command = [sys.executable, "-c", code, "deliver", *words, str(tmp_path / "box")]
        assert links(tmp_path, *command, stdin=b"Subject: x\n\n") == []
    assert len(delivered(tmp_path / "box")) == 2
    assert len(delivered(tmp_path / "box/.Archive")) == 1


def test_control(tmp_path: Path) -> None:
    """What we look for is seen where it happens."""
    assert len(links(tmp_path, sys.executable, "-c", STDLIB, str(tmp_path / "box"))) == 1
