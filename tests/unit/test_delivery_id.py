"""Delivery ids: they tell messages apart, and an earlier try is not missed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe.errors import TemporaryError
from maildir_safe.testing.simfs import Fault, SimHost, SimServer

MAIL = b"Subject: hello\n\nworld\n"


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0"])
@pytest.mark.parametrize("folder", [None, "Sub"])
def test_a_blank_delivery_id_is_refused(blank: str, folder: str | None, tmp_path: Path) -> None:
    """All messages with it were taken for one, and the second was lost."""
    box = Maildir(tmp_path / "box")
    with pytest.raises(ValueError, match="delivery id"):
        box.deliver(MAIL, delivery_id=blank, folder=folder)
    with pytest.raises(ValueError, match="delivery id"):
        asyncio.run(box.deliver_async(MAIL, delivery_id=blank, folder=folder))
    assert list(box.messages()) == []
    words = ["deliver", f"--delivery-id={blank}", box.path]
    done = subprocess.run([sys.executable, "-m", "maildir_safe", *words], input=MAIL, capture_output=True)
    assert (done.returncode, done.stderr[:6]) == (75, b"4.3.5 ")


class Forgetful(OsFileSystem):
    """Listings that leave messages out now and then, as those of a directory that changes do."""

    hide: Callable[[int], bool] = staticmethod(lambda nth: nth == 1)

    def __init__(self) -> None:
        self.nth = 0

    def listdir(self, dir_fd: int) -> list[str]:
        names = super().listdir(dir_fd)
        if not any(",S=" in name for name in names):
            return names
        self.nth += 1
        return [name for name in names if ",S=" not in name] if self.hide(self.nth) else names


@pytest.mark.parametrize("subdir", ["new", "cur"])
def test_a_name_that_one_listing_leaves_out_is_no_second_copy(subdir: str, tmp_path: Path) -> None:
    fs = Forgetful()
    box = Maildir(tmp_path / "box", fs=fs)
    first = Maildir(tmp_path / "box").deliver(MAIL, delivery_id="4FxyZ", flags="S" if subdir == "cur" else "")
    again = box.deliver(MAIL, delivery_id="4FxyZ")
    assert fs.nth == 2
    assert (again.repeated, again.key) == (True, first.key)
    assert len(list(Maildir(tmp_path / "box").messages())) == 1


def test_what_is_not_there_is_looked_for_twice(tmp_path: Path) -> None:
    fs = Forgetful()
    box = Maildir(tmp_path / "box", fs=fs)
    box.deliver(MAIL)
    assert not box.deliver(MAIL, delivery_id="4FxyZ").repeated
    assert fs.nth == 2  # new/, where the other message is, twice


def test_a_seal_that_a_late_rename_moved_is_no_earlier_message() -> None:
    """It was acknowledged as an earlier delivery: the message was lost.

    Where messages are written in new/ itself, a late rename may move the directory that seals their name.
    """
    server = SimServer("coda")
    Maildir("/mail", fs=SimHost(server, "maker"))
    late = Fault("rename", effect="late", nth=1, times=5, delay=20.0)
    with pytest.raises(TemporaryError):
        Maildir("/mail", fs=SimHost(server, "b", faults=[late])).deliver(MAIL, delivery_id="one")
    server.settle()
    assert Maildir("/mail", fs=SimHost(server, "c")).deliver(MAIL, delivery_id="one").repeated is False
    server.settle()
    assert [data for path, data in server.files().items() if path.startswith("/mail/new/")] == [MAIL]
    assert Maildir("/mail", fs=SimHost(server, "d")).deliver(MAIL, delivery_id="one").repeated
