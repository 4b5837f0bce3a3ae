"""The inbox lists only directories that changed, and shows what a listing of everything shows."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._web import mailbox_set, ordering
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailbox_set import MailboxSet


def shown(inbox: Inbox) -> list[tuple[str, str]]:
    inbox.refresh()
    boxes = [one for box in inbox.boxes for one in box.messages]
    assert sorted(one.key for one in boxes) == sorted(one.key for one in inbox.everything.messages)
    assert inbox.everything.unread == sum(ordering.is_unread(one) for one in inbox.everything.messages)
    return [(message.key, message.name) for message in inbox.everything.messages]


@pytest.mark.parametrize("few", [0, 200])
def test_it_shows_what_a_new_listing_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(mailbox_set, "_COARSEST", 0.0)
    monkeypatch.setattr(ordering, "_FEW", few)
    dice = random.Random(few)
    maildir = Maildir(tmp_path / "m")
    inbox = Inbox(MailboxSet.of(Maildir(maildir.path)))
    for _ in range(120):
        place = maildir if dice.random() < 0.8 else maildir.folder("Sub")
        keys = [message.key for message in place.messages()]
        what = dice.choice(["deliver", "deliver", "flag", "discard", "nothing"])
        if what == "deliver":
            place.deliver(b"Subject: x\n\n")
        elif keys and what == "flag":
            place.set_flags(dice.choice(keys), dice.choice(["S", "", "FS"]))
        elif keys and what == "discard":
            place.discard(dice.choice(keys))
        time.sleep(0.012)  # a tick of the clock of ext4's times
        assert shown(inbox) == shown(Inbox(MailboxSet.of(Maildir(maildir.path))))


def test_a_directory_that_did_not_change_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_set, "_COARSEST", 0.0)
    maildir = Maildir(tmp_path / "m")
    maildir.set_flags(maildir.deliver(b"Subject: x\n\n").key, "S")
    inbox = Inbox(MailboxSet.of(Maildir(maildir.path)))
    for _ in range(3):
        time.sleep(0.012)
        inbox.refresh()
    listed: list[set[str]] = []
    listdir = OsFileSystem.listdir
    monkeypatch.setattr(
        OsFileSystem, "listdir", lambda *args: listed.append({*listdir(*args)}) or listdir(*args)
    )
    maildir.deliver(b"Subject: y\n\n")
    listed.clear()
    inbox.refresh()
    seen = {name for names in listed for name in names if ":2," in name}
    assert seen == set()
    assert len(inbox.everything.messages) == 2
