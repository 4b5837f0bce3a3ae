"""What `probe --save` stores on a real mount is what a Maildir and a Queue there use."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mounts import CHOSEN, on_mounts

from benchmarks.mounts import Mount
from maildir_safe import Maildir, Queue, TemporaryError
from maildir_safe._fs.stored_options import STORED


def save(mount: Mount) -> str:
    command = [sys.executable, "-m", "maildir_safe", "probe", "--save", str(mount.paths[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"stored in {mount.paths[0] / STORED}" in done.stdout, done.stdout + done.stderr
    return (mount.paths[0] / STORED).read_text()


@on_mounts("exfat", "vfat")
def test_the_separator_is_taken_from_the_root_of_the_mount(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are everybody's on these: it is believed all the same."""
    assert '"separator": ";"' in save(mount)
    monkeypatch.setattr("maildir_safe._maildir.handles.find_separator", None)  # it need not be found out
    receipt = Maildir(mount.folder() / "box").deliver(b"Subject: x\n\n", flags="S")
    assert receipt.path.endswith(";2,S")


@on_mounts(*(kind for kind in CHOSEN if kind == "s3fs"))
def test_a_queue_there_is_not_shared(mount: Mount) -> None:
    assert '"shared": false' in save(mount)
    with pytest.raises(TemporaryError, match=r"maildir-safe\.json"):
        Queue(mount.folder() / "spool")


@on_mounts("ext4", "sshfs-nolink")
def test_where_nothing_is_special_nothing_is_stored(mount: Mount) -> None:
    text = save(mount)
    assert "separator" not in text
    assert "shared" not in text
    Maildir(mount.folder() / "box").deliver(b"Subject: x\n\n")
    assert [path.name for path in mount.paths[0].iterdir() if path.name.startswith(".m")] == [STORED]
