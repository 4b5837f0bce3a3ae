"""The search's index: it finds exactly what a plain search finds, and is never the truth."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web import index_filling
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.inbox import Inbox
from maildir_safe._web.index import Needle, SearchIndex, cache_directory, index_path
from maildir_safe._web.index_filling import Filler, keep_filling
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe._web.mailpit import matching
from maildir_safe._web.mailpit_entries import Entries
from maildir_safe._web.mailpit_query import SearchQuery

PIECES = [
    "ada",
    "Ada",
    "ÄDA",
    "a\u0308da",
    "straße",
    "STRASSE",
    "日本語",
    "本",
    "ﬁn",
    "%",
    "_",
    '"',
    "'",
    "''",
]
PIECES += ["\0", "\ud800", "\ufffe", "\ufffd", "İ", "x" * 40, "aaa", "aaaa", "aa", "a", "*", "AND", "NEAR"]
PIECES += ["é", "-", "(", "İstanbul", "\u200b", "😀", "😀😀😀", "a b", "text/html", ":", "\\"]


def odd_mail(dice: random.Random) -> bytes:
    def some() -> bytes:
        text = "".join(dice.choice([*PIECES, " "]) for _ in range(dice.randrange(6)))
        if dice.random() < 0.95:
            text = text.replace("\0", "")
        return text.encode(dice.choice(["utf-8"] * 9 + ["latin-1"] * 9 + ["utf-16"]), "replace").replace(
            b"\n", b""
        )

    fields = [
        b"From",
        b"To",
        b"Cc",
        b"Bcc",
        b"Reply-To",
        b"Subject",
        b"Message-ID",
        b"X-Other",
        b"Delivered-To",
    ]
    heads = [name + b": " + some() + dice.choice([b"", b" <ada@example.com>", b", b@c"]) for name in fields
             if dice.random() < 0.6]  # fmt: skip
    if dice.random() < 0.3:
        kind = dice.choice([b"attachment", b"inline"])
        part = b"Content-Type: text/html\n\n<p>" + some() + b"</p>\n"
        file = (
            b"Content-Disposition: " + kind + b'; filename="' + some().replace(b'"', b"") + b'"\n\n' + some()
        )
        body = b"--b\n" + part + b"--b\n" + file + b"\n--b--\n"
        heads.append(b"Content-Type: multipart/mixed; boundary=b")
    else:
        body = b" ".join(some() for _ in range(dice.randrange(8)))
    return b"\n".join(heads) + b"\n\n" + body + b"\n"


def filled(maildir: Maildir, path: Path) -> Inbox:
    """An inbox whose index has all messages."""
    inbox = Inbox(MailboxSet.of(maildir))
    inbox.refresh()
    inbox.index = SearchIndex(path)
    filler = Filler(inbox, inbox.index)
    while filler.step():
        pass
    return inbox


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "m")


@pytest.mark.parametrize("seed", range(3))
def test_the_index_finds_what_a_plain_search_finds(maildir: Maildir, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(250):
        maildir.deliver(odd_mail(dice))
    inbox = filled(maildir, tmp_path / "cache" / "i.search")
    plain = Inbox(MailboxSet.of(maildir))
    plain.refresh()
    assert inbox.index is not None
    assert 150 < len(inbox.index.rows) < 250  # those with NUL are left out
    for _ in range(30):  # these have no row yet
        maildir.deliver(odd_mail(dice))
    inbox.refresh()
    plain.refresh()
    ours, theirs = inbox.everything.messages, plain.everything.messages
    assert inbox.ask([Needle("text", "ada")]) is not None
    for _ in range(150):
        words = " ".join(dice.choice(PIECES) for _ in range(dice.randrange(1, 4)))
        if words.strip():
            assert keys(inbox.search(ours, words)) == keys(plain.search(theirs, words)), words
    entries, plain_entries = Entries(inbox), Entries(plain)
    names = ["from", "to", "cc", "bcc", "reply-to", "subject", "message-id", "body", "addressed", "tag"]
    whether = ["is:unread", "is:read", "is:tagged", "has:attachment", "has:attachments", "has:inline"]
    whether += ["larger:200", "smaller:150", "before:2020-01-01", "after:2020-01-01"]
    for _ in range(300):
        terms = [
            dice.choice(["", "-", "!"])
            + dice.choice([f'{dice.choice(names)}:"{piece}"', f'"{piece}"', piece, dice.choice(whether)])
            for piece in dice.choices([p for p in PIECES if '"' not in p], k=dice.randrange(1, 4))
        ]
        query = SearchQuery(" ".join([*terms, "a" * (len(terms) % 2), "-zzz"]))
        found = [message.key for message in matching(entries, query, ours)]
        direct = [message.key for message in matching(plain_entries, query, theirs)]
        assert found == direct, terms


def keys(found: tuple[list, bool]) -> tuple[list[str], bool]:
    return [message.key for message in found[0]], found[1]


def test_both_searches_of_the_server_use_it(
    maildir: Maildir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        maildir.deliver(f"Subject: number {number}x\n\nText.\n".encode())
    app = application(maildir)
    app.state.inbox = inbox = filled(maildir, tmp_path / "cache" / "i.search")
    app.state.entries = Entries(inbox)
    monkeypatch.setattr(Inbox, "text", lambda *_: pytest.fail("a message was read"))
    with TestClient(Guard(app), base_url="http://127.0.0.1") as client:
        assert client.get("/api/messages", params={"search": "number 7x"}).json()["total"] == 2
        assert client.get("/api/v1/search", params={"query": "subject:7x"}).json()["messages_count"] == 2
        assert (
            client.get("/api/v1/search", params={"query": "text. -7x is:unread"}).json()["messages_count"]
            == 18
        )
        assert client.get("/api/mailboxes").json()["indexed"] == 20


def test_it_is_used_again_after_a_restart_and_a_changed_file_is_read_again(
    maildir: Maildir, tmp_path: Path
) -> None:
    one, two = (maildir.deliver(f"Subject: {word}\n\n".encode()).key for word in ("first", "other"))
    path = tmp_path / "cache" / "i.search"
    inbox = filled(maildir, path)
    assert inbox.index is not None
    rows = dict(inbox.index.rows)
    inbox.index.close()
    file = Path(maildir.path, "new", maildir.find(two).name)
    file.write_bytes(b"Subject: newer\n\n")
    os.utime(file, ns=(1, 1))
    inbox = filled(maildir, path)
    assert inbox.index is not None
    assert inbox.index.rows[one] == rows[one]
    assert inbox.index.rows[two] > rows[two]
    assert keys(inbox.search(inbox.everything.messages, "other")) == ([], True)
    assert keys(inbox.search(inbox.everything.messages, "newer")) == ([two], True)


def test_what_is_gone_is_found_no_more_and_leaves_the_index(maildir: Maildir, tmp_path: Path) -> None:
    key = maildir.deliver(b"Subject: first\n\n").key
    inbox = filled(maildir, tmp_path / "cache" / "i.search")
    assert inbox.index is not None
    filler = Filler(inbox, inbox.index)
    maildir.discard(key)
    inbox.refresh()
    assert keys(inbox.search(inbox.everything.messages, "first")) == ([], True)
    while filler.step():
        pass
    assert inbox.index.rows == {}


@pytest.mark.parametrize("damage", ["no database", "cut", "zeros", "another version"])
def test_a_damaged_index_is_made_anew(maildir: Maildir, tmp_path: Path, damage: str) -> None:
    for number in range(50):
        maildir.deliver(f"Subject: number {number}\n\n{'text ' * 100}\n".encode())
    path = tmp_path / "cache" / "i.search"
    inbox = filled(maildir, path)
    assert inbox.index is not None
    inbox.index.close()
    data = path.read_bytes()
    if damage == "another version":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE version SET text = '0'")
        db.close()
    else:
        broken = {
            "no database": b"x" * len(data),
            "cut": data[: len(data) // 2],
            "zeros": data[:4096] + b"\0" * 9999,
        }
        path.write_bytes(broken[damage])
    inbox = filled(maildir, path)
    assert len(inbox.search(inbox.everything.messages, "text")[0]) == 50
    assert inbox.index is not None
    filler = Filler(inbox, inbox.index)
    while filler.step():
        pass
    assert len(inbox.index.rows) == 50
    assert len(inbox.search(inbox.everything.messages, "number")[0]) == 50


def test_a_second_process_searches_without_it(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "i.search"
    first = SearchIndex(path)
    with pytest.raises(sqlite3.OperationalError):
        SearchIndex(path)
    first.close()
    SearchIndex(path).close()


def test_directory_and_file_are_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "maildir-safe"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_directory().is_absolute()
    path = tmp_path / "cache" / "i.search"
    SearchIndex(path).close()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    with pytest.raises(PermissionError):
        SearchIndex(tmp_path / "link" / "i.search")


def test_a_search_that_takes_too_long_reads_the_messages(maildir: Maildir, tmp_path: Path) -> None:
    for number in range(300):
        maildir.deliver(f"Subject: number {number}\n\n{'text ' * 2000}\n".encode())
    inbox = filled(maildir, tmp_path / "cache" / "i.search")
    assert inbox.index is not None
    assert inbox.index.ask([Needle("text", "zq")], -1.0) is None
    assert inbox.index.ask([Needle("text", "number 7")], 60.0) is not None


def test_a_large_inbox_gets_an_index_and_a_small_one_does_not(
    maildir: Maildir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(index_filling, "_FIRST", 0.0)
    monkeypatch.setattr(index_filling, "_LATER", 0.05)
    monkeypatch.setattr(index_filling, "WORTH", 10)
    for number in range(9):
        maildir.deliver(f"Subject: {number}\n\n".encode())

    async def look(until: int, tries: int) -> int:
        inbox = Inbox(MailboxSet.of(maildir))
        task = asyncio.create_task(keep_filling(inbox, lambda: 0))
        for _ in range(tries):
            await asyncio.sleep(0.01)
            if inbox.index and len(inbox.index.rows) >= until:
                break
        count = len(inbox.index.rows) if inbox.index else -1
        inbox.close()
        await task
        return count

    assert asyncio.run(look(9, 200)) == -1
    assert not (tmp_path / "xdg").exists()
    maildir.deliver(b"Subject: ten\n\n")
    assert asyncio.run(look(10, 6000)) == 10
    assert index_path(maildir.path).exists()


def test_what_is_added_after_the_question_is_looked_at(maildir: Maildir, tmp_path: Path) -> None:
    """An answer knows nothing of later rows; the search reads such messages itself."""
    first = maildir.deliver(b"Subject: word one\n\n").key
    inbox = filled(maildir, tmp_path / "cache" / "i.search")
    answer = inbox.ask([Needle("text", "word")])
    second = maildir.deliver(b"Subject: word two\n\n").key
    inbox.refresh()
    ids = inbox.everything.messages.ids
    assert answer is not None
    assert answer.found(ids) == ([first], [second])
    assert inbox.index is not None
    filler = Filler(inbox, inbox.index)
    while filler.step():
        pass
    assert answer.found(ids) == ([first], [second])
    again = inbox.ask([Needle("text", "word")])
    assert again is not None
    assert again.found(ids) == ([second, first], [])


def test_common_and_rare_words_are_found_by_different_ways_with_one_result(
    maildir: Maildir, tmp_path: Path
) -> None:
    for number in range(64):
        maildir.deliver(f"Subject: common {'rare' if number % 16 == 0 else 'x'} {number}\n\n".encode())
    inbox = filled(maildir, tmp_path / "cache" / "i.search")
    found = {word: len(inbox.search(inbox.everything.messages, word)[0]) for word in ("common", "rare", "co")}
    assert found == {"common": 64, "rare": 4, "co": 64}
    assert len(inbox.search(inbox.everything.messages, "common rare 48")[0]) == 1
