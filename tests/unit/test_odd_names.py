"""Names that other programs make, by every door: what is no flag is kept as it was found."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._cli import main
from maildir_safe.mailbox import Maildir as DropIn

MAIL = b"Subject: hello\n\nworld\n"
KEY = "1700000000.M1P2Q3.host,S=22"

CHANGES = [
    (":2,S,Z", ":2,FS,Z"),
    (":2,:2,S", ":2,:2,FS"),
    ("!2,S", "!2,FS"),
    (";2,S", ";2,FS"),
]


@pytest.mark.parametrize(("info", "after"), CHANGES)
def test_a_change_of_flags_keeps_the_rest_of_the_info(info: str, after: str, tmp_path: Path) -> None:
    box = Maildir(tmp_path / "box")
    (tmp_path / "box/cur" / (KEY + info)).write_bytes(MAIL)
    (message,) = box.messages()
    assert (message.key, message.flags, message.size) == (KEY, "S", 22)
    box.set_flags(KEY, "FS")
    assert os.listdir(tmp_path / "box/cur") == [KEY + after]
    assert box.find(KEY).flags == "FS"


@pytest.mark.parametrize(("info", "after"), CHANGES)
def test_the_drop_in_keeps_the_rest_of_the_info(info: str, after: str, tmp_path: Path) -> None:
    box = DropIn(tmp_path / "box")
    (tmp_path / "box/cur" / (KEY + info)).write_bytes(MAIL)
    assert box.keys() == [KEY]
    assert box.get_flags(KEY) == "S"
    box.add_flag(KEY, "F")
    (name,) = os.listdir(tmp_path / "box/cur")
    assert name == KEY + ":" + after[1:]  # `colon` is the caller's to choose, as in the original
    assert box.get_flags(KEY) == "FS"
    assert box.get_bytes(KEY) == MAIL


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("gzip", gzip.compress(MAIL)),
        ("bzip2", bz2.compress(MAIL)),
        ("xz", lzma.compress(MAIL)),
        ("zstd", b"\x28\xb5\x2f\xfd..."),
    ],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
@pytest.mark.parametrize("info", [":2,S", ":2,SZ", ":2,S,Z"])
def test_fsck_says_that_a_message_is_compressed(
    kind: str, start: bytes, info: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Maildir(tmp_path / "box").deliver(MAIL, flags="Z")  # a flag that says nothing by itself
    (tmp_path / "box/cur" / (KEY + info)).write_bytes(start)
    assert main(["fsck", str(tmp_path / "box")]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{KEY}{info}: is compressed ({kind})" in line


def test_a_fifo_with_the_full_shape_of_a_name_is_listed_until_it_is_opened(tmp_path: Path) -> None:
    """docs/reference/file-systems.md says why; opening one never waits for a writer."""
    box = Maildir(tmp_path / "box")
    receipt = box.deliver(b"Subject: x\n\n")
    [path] = (tmp_path / "box/new").iterdir()
    fake = path.name.replace("Q1R", "Q2R")
    os.mkfifo(path.with_name(fake))
    assert len(list(box.messages())) == 2
    [key] = [message.key for message in box.messages() if message.key != receipt.key]
    with pytest.raises(KeyError):
        box.open(key)
    assert [message.key for message in box.messages()] == [receipt.key]
