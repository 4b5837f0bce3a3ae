"""A large Maildir: the page works from names, opens what it shows, and a change costs no new start."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._maildir import message_store
from maildir_safe._web.app import application
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe._web.ordering import order


class Counting(OsFileSystem):
    """Counts what is asked about single files."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def open(self, name: str, dir_fd: int | None = None) -> int:
        self.calls["open"] += dir_fd is not None  # not what a probe may have stored for the mount
        return super().open(name, dir_fd)

    def stat(self, name: str, dir_fd: int) -> os.stat_result:
        self.calls["stat"] += name != "tmp"  # which is looked at before each listing
        return super().stat(name, dir_fd)


def filled(path: Path, fs: OsFileSystem, messages: int) -> Maildir:
    maildir = Maildir(path, fs=fs)
    for n in range(messages):
        (path / "cur" / f"{1_700_000_000 + n}.M{n}P1Q1.host,S=12:2,S").write_bytes(b"Subject: x\n\n")
    return maildir


def test_a_page_opens_what_it_shows_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = Counting()
    maildir = filled(tmp_path / "m", fs, 1000)
    taken_apart: list[str] = []
    split = message_store.split

    def remember(name: str) -> tuple[str, str]:
        taken_apart.append(name)
        return split(name)

    with TestClient(application(maildir), base_url="http://127.0.0.1") as client:
        assert client.get("/").text.count('href="/message/') == 50
        assert fs.calls == {"open": 50, "stat": 0}
        newest = Maildir(tmp_path / "m").deliver(b"Subject: one more\n\n")
        monkeypatch.setattr(message_store, "split", remember)
        assert client.get("/").text.count("one more</span>") == 1
        assert fs.calls == {"open": 51, "stat": 0}
        keys = {split(name)[0] for name in taken_apart}
        assert newest.key in keys
        assert len(keys) <= 50  # of those shown, for their flags; not of the other thousand


def test_whatever_changes_the_list_is_as_if_made_anew(tmp_path: Path) -> None:
    """Random changes by others: mail comes, goes, is read, is in both directories for a while."""
    random_ = random.Random(6)
    maildir = Maildir(tmp_path / "m")
    new, cur = tmp_path / "m/new", tmp_path / "m/cur"
    inbox = Inbox(MailboxSet.of(maildir))
    count = 0
    for _ in range(150):
        for _ in range(random_.randrange(4)):
            there = [*new.iterdir(), *cur.iterdir()]
            what = random_.randrange(5) if there else 0
            count += 1
            if what == 0:
                (new / f"{random_.randrange(10**9)}.M1P1Q{count}.host").write_bytes(b"x")
                continue
            file = random_.choice(there)
            key = file.name.partition(":")[0]
            if what == 1:
                file.unlink()
            elif what == 2:
                file.rename(cur / f"{key}:2,{random_.choice(['', 'S', 'FS'])}")
            elif what == 3:
                (cur / f"{key}:2,T").write_bytes(b"x")
            else:
                maildir.set_flags(key, "S")
        version = inbox.everything.version
        before = [(m.subdir, m.name) for m in inbox.everything.messages]
        inbox.forget()
        inbox.refresh()
        fresh = sorted(Maildir(tmp_path / "m").messages(), key=lambda m: order(m.key), reverse=True)
        shown = [(m.subdir, m.name) for m in inbox.everything.messages]
        assert shown == [(m.subdir, m.name) for m in fresh]
        assert all(inbox.has(m.key) for m in fresh)
        assert all(inbox.everything.messages.number(m.key) == at for at, m in enumerate(fresh))
        assert (inbox.everything.version != version) or shown == before
    assert count > 100


def test_a_stray_that_becomes_a_message_is_seen(tmp_path: Path) -> None:
    """The same names as before do not mean that nothing is new where one of them was no message."""
    maildir = Maildir(tmp_path / "m")
    stray = tmp_path / "m/cur/foreign"
    stray.mkdir()
    assert list(maildir.messages()) == []
    stray.rmdir()
    stray.write_bytes(b"x")
    assert [message.key for message in maildir.messages()] == ["foreign"]
    stray.unlink()
    assert list(maildir.messages()) == []
