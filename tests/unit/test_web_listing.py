"""The inbox lists only directories that changed, and shows what a listing of everything shows."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir.message_store import Message
from maildir_safe._web import mailbox_set, ordering
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe._web.placed import Placed


def tick(directory: Path) -> None:
    """Wait until what changes from now on has another time than what changed before."""
    file = directory / "tick"
    before = time_of(file)
    while time_of(file) == before:
        time.sleep(0.002)


def time_of(file: Path) -> int:
    """The time that a file gets now."""
    file.write_bytes(b"x")
    return file.stat().st_mtime_ns


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
        tick(tmp_path)
        assert shown(inbox) == shown(Inbox(MailboxSet.of(Maildir(maildir.path))))


def test_a_directory_that_did_not_change_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_set, "_COARSEST", 0.0)
    maildir = Maildir(tmp_path / "m")
    maildir.set_flags(maildir.deliver(b"Subject: x\n\n").key, "S")
    inbox = Inbox(MailboxSet.of(Maildir(maildir.path)))
    for _ in range(3):
        tick(tmp_path)
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


@pytest.mark.parametrize("kind", ["ours", "unpadded", "without", "old", "odd", "all"])
def test_many_names_are_sorted_as_by_their_times(kind: str) -> None:
    """The text of most names has the right order; of the others it must not be believed."""
    dice = random.Random(kind)
    forms = {
        "ours": lambda: f"{dice.randrange(1_700_000_000, 1_700_000_005)}.M{dice.randrange(10**6):06}P1.h",
        "unpadded": lambda: f"{dice.randrange(1_700_000_000, 1_700_000_005)}.M{dice.randrange(10**6)}P1.h",
        "without": lambda: f"{dice.randrange(1_700_000_000, 1_700_000_005)}.P{dice.randrange(10**6)}.h",
        "old": lambda: f"{dice.randrange(999_999_990, 1_000_000_010)}.M1234567{dice.randrange(99)}.h",
        "odd": lambda: dice.choice(["x", "1700000000", ".M1", "99999999999.M000001P1"]) + str(dice.random()),
    }
    chosen = [*forms.values()] if kind == "all" else [forms[kind]]
    keys = list({dice.choice(chosen)() for _ in range(3000)})
    assert ordering.newest_first(keys) == sorted(keys, key=ordering.order, reverse=True)


def test_a_first_listing_makes_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100,000 messages the page shows 50; an object for each of them took a second."""
    maildir = Maildir(tmp_path / "m")
    for _ in range(30):
        maildir.deliver(b"Subject: x\n\n")
    maildir.set_flags(next(maildir.messages()).key, "S")
    made: list[str] = []
    init = Message.__init__
    monkeypatch.setattr(Message, "__init__", lambda self, *a: made.append(a[1]) or init(self, *a))
    placed = Placed.__init__
    monkeypatch.setattr(Placed, "__init__", lambda self, *a: made.append(a[1]) or placed(self, *a))
    inbox = Inbox(MailboxSet.of(Maildir(maildir.path)))
    inbox.refresh()
    assert (len(inbox.everything.messages), inbox.everything.unread, made) == (30, 29, [])
    assert len([*inbox.everything.messages[:7]]) == 7
    assert len(made) == 7


def test_a_message_in_both_directories_is_one_and_unread(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    name = Path(maildir.path, "new", maildir.find(maildir.deliver(b"Subject: x\n\n").key).name).name
    (tmp_path / "m/cur" / f"{name}:2,").write_bytes(b"Subject: x\n\n")
    inbox = Inbox(MailboxSet.of(Maildir(maildir.path)))
    inbox.refresh()
    assert (len(inbox.everything.messages), inbox.everything.unread) == (1, 1)
    (tmp_path / "m/new" / name).unlink()
    assert shown(inbox) == [(name, f"{name}:2,")]
    assert inbox.everything.unread == 1
