"""Folders: what a name means, and that what is listed opens as itself, without a twin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._cli import main
from maildir_safe._maildir.folders import folder_directory

MAIL = b"Subject: hello\n\nworld\n"
ODD = [
    ".Entwürfe",  # plain UTF-8, as Dovecot can have it
    ".R&D",
    ".&AGE-",
    ".&ZeVnLIqe",
    ".caf\udce9",
    ".INBOX",
    ".Inbox.",
    ".a\nb",
]


@pytest.fixture
def box(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "box")


def directories(box: Maildir) -> list[str]:
    return sorted(name for name in os.listdir(box.path) if name.startswith("."))


@pytest.mark.parametrize("name", ["INBOX", "inbox", "Inbox"])
def test_inbox_is_the_maildir_itself(name: str, box: Maildir, tmp_path: Path) -> None:
    assert box.folder(name) is box
    receipt = box.deliver(MAIL, folder=name)
    assert Path(receipt.path).parent == tmp_path / "box" / "new"
    assert main(["ls", "-m", name, box.path]) == 0
    box.move(receipt.key, name)
    assert directories(box) == []
    assert [message.subdir for message in box.messages()] == ["cur"]


@pytest.mark.parametrize("name", ["INBOX", "inbox"])
def test_inbox_at_the_command_line(name: str, box: Maildir, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maildir_safe"]
    subprocess.run([*command, "create", box.path, "--folder", name], check=True)
    subprocess.run([*command, "deliver", "-m", name, box.path], input=MAIL, check=True)
    assert [file.read_bytes() for file in (tmp_path / "box" / "new").iterdir()] == [MAIL]
    assert directories(box) == []


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("Sent", ".Sent"),
        (".Sent", ".Sent"),
        ("INBOX.Sent", ".INBOX.Sent"),
        ("Inboxes", ".Inboxes"),
        ("Entwürfe", ".Entw&APw-rfe"),
        (".Entwürfe", ".Entwürfe"),
        ("R&D", ".R&-D"),
        (".R&D", ".R&D"),
    ],
)
def test_what_a_name_means(name: str, directory: str) -> None:
    assert folder_directory(name) == directory


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "./a", "../x", ".a/b", "a..b", "a.", "..a", "a\0b", "a\nb", ".a\nb"]
)
def test_what_is_no_name(name: str, box: Maildir) -> None:
    with pytest.raises(ValueError, match="not a folder name"):
        box.deliver(MAIL, folder=name)
    assert directories(box) == []


def test_what_is_listed_opens_as_itself(box: Maildir) -> None:
    made = [name for name in ODD if not name.endswith(".")]
    for name in ODD:
        for subdir in ("tmp", "new", "cur"):
            os.makedirs(f"{box.path}/{name}/{subdir}")
    Path(box.path, ".Entwürfe/new/1.2.x").write_bytes(MAIL)
    box.folder("Entwürfe")  # the folder that has the same name in the other encoding
    assert box.folders() == sorted(["Entwürfe", *made])
    for name in box.folders():
        folder = box.folder(name, create=False)
        assert os.path.basename(folder.path) in (name, folder_directory(name, made=False))
    assert len(list(box.folder(".Entwürfe").messages())) == 1
    assert directories(box) == sorted([*ODD, ".Entw&APw-rfe"])


def test_only_directories_are_folders(box: Maildir, capsys: pytest.CaptureFixture[str]) -> None:
    box.folder("real")
    Path(box.path, ".dovecot.sieve").write_text("keep;")
    os.symlink("/nowhere", f"{box.path}/.dangling")
    os.symlink("/etc/passwd", f"{box.path}/.file")
    os.mkfifo(f"{box.path}/.fifo")
    assert box.folders() == ["real"]
    assert main(["clean", box.path]) == 0
    assert main(["fsck", box.path]) == 0
    os.symlink("@7f000123.0000002a.00000001", f"{box.path}/.conflict")
    assert box.folders() == ["conflict", "real"]  # to be told of it
    assert main(["clean", box.path]) == 1
    assert "conflict" in capsys.readouterr().err


def test_a_folder_that_is_made_is_marked_as_one(box: Maildir) -> None:
    """Without `maildirfolder`, quota programs pass it over (Maildir++)."""
    box.deliver(MAIL, folder="Archive.2026")
    assert sorted(os.listdir(f"{box.path}/.Archive.2026")) == ["cur", "maildirfolder", "new", "tmp"]
    assert os.listdir(f"{box.path}/.Archive.2026/tmp") == []
    os.unlink(f"{box.path}/.Archive.2026/maildirfolder")
    Maildir(box.path).folder("Archive.2026")  # another's folder is left as it is
    assert sorted(os.listdir(f"{box.path}/.Archive.2026")) == ["cur", "new", "tmp"]
    assert "maildirfolder" not in os.listdir(box.path)
