"""Deletions on the page: into the trash, back again, and emptied later; those of programs are final."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._mailbox_tree import MailboxTree
from maildir_safe._web import trash
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.mailbox_set import MailboxSet


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    maildir = Maildir(tmp_path / "m")
    for number in range(4):
        maildir.deliver(f"Subject: number {number}\n\n".encode())
    return maildir


@pytest.fixture
def client(maildir: Maildir) -> Iterator[TestClient]:
    with TestClient(Guard(application(maildir)), base_url="http://127.0.0.1") as client:
        yield client


def subjects(client: TestClient) -> list[str]:
    return [one["subject"] for one in client.get("/api/messages").json()["messages"]]


def key_of(client: TestClient, subject: str) -> str:
    found = client.get("/api/messages", params={"search": subject}).json()["messages"]
    return str(found[0]["key"])


def undo(client: TestClient, page: str) -> None:
    found = re.search(r'class="undo" method="post" action="([^"]+)"', page)
    assert found, page
    assert client.post(found[1].replace("&amp;", "&")).status_code == 200


def test_one_message_comes_back_with_its_flags(client: TestClient, maildir: Maildir) -> None:
    key = key_of(client, "number 2")
    maildir.set_flags(key, "FS")
    page = client.post(f"/message/{key}/delete", params={"search": "number"}).text
    assert "1 message deleted." in page
    assert subjects(client) == ["number 3", "number 1", "number 0"]
    assert client.get(f"/message/{key}").status_code == 404
    assert [one.flags for one in maildir.folder("Trash").messages()] == ["FST"]
    undo(client, page)
    assert subjects(client) == ["number 3", "number 2", "number 1", "number 0"]
    assert maildir.find(key).flags == "FS"
    assert list(maildir.folder("Trash").messages()) == []


def test_what_was_found_comes_back_unread(client: TestClient) -> None:
    page = client.post("/delete", params={"search": "number"}).text
    assert "4 messages deleted." in page
    assert subjects(client) == []
    assert client.get("/api/mailboxes").json()["mailboxes"] == [
        {"name": "INBOX", "total": 0, "unread": 0, "trouble": ""}
    ]
    undo(client, page)
    assert len(subjects(client)) == client.get("/api/messages").json()["unread"] == 4


def test_selected_messages_are_deleted_or_marked(client: TestClient) -> None:
    keys = [key_of(client, "number 1"), key_of(client, "number 3"), "unknown"]
    assert client.post("/selected/read", data={"key": keys}).status_code == 200
    assert client.get("/api/messages").json()["unread"] == 2
    assert client.post("/selected/unread", data={"key": keys}).status_code == 200
    assert client.get("/api/messages").json()["unread"] == 4
    page = client.post("/selected/delete", data={"key": keys}).text
    assert "2 messages deleted." in page
    assert subjects(client) == ["number 2", "number 0"]
    undo(client, page)
    assert len(subjects(client)) == 4
    assert client.post("/selected/paint", data={"key": keys}).status_code == 404
    assert client.post("/selected/delete", data={"key": ["x"] * 1001}).status_code == 400
    assert client.post("/selected/delete", content=b"\xff").status_code == 400
    assert len(subjects(client)) == 4


def test_a_deletion_is_undone_once(client: TestClient) -> None:
    page = client.post("/delete").text
    undo(client, page)
    found = re.search(r"/undo/[^?\"]+", page)
    assert found
    assert client.post(found[0]).status_code == 404
    assert "cannot be undone any more" in client.post("/undo/made-up").text


def test_very_many_messages_are_removed_at_once_and_the_page_says_so(
    client: TestClient, maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trash, "MOST", 3)
    page = client.post("/delete").text
    assert 'class="undo"' not in page
    assert subjects(client) == []
    assert maildir.folders() == []


def test_programs_delete_for_good(client: TestClient, maildir: Maildir) -> None:
    assert client.delete(f"/api/messages/{key_of(client, 'number 1')}").status_code == 200
    assert client.request("DELETE", "/api/v1/messages", json={}).status_code == 200
    assert subjects(client) == []
    assert maildir.folders() == []


def test_only_what_the_page_deleted_leaves_the_trash(
    maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application(maildir)
    with TestClient(Guard(app), base_url="http://127.0.0.1") as client:
        client.post(f"/message/{key_of(client, 'number 0')}/delete")
        maildir.folder("Trash").deliver(b"Subject: another program's\n\n")
        assert subjects(client) == ["number 3", "number 2", "number 1"]
        app.state.trash.empty()
        assert len(list(maildir.folder("Trash").messages())) == 2  # it is too early
        monkeypatch.setattr(trash, "KEPT", 0.0)
        app.state.trash.empty()
        (left,) = maildir.folder("Trash").messages()
        assert b"another program's" in maildir.folder("Trash").open(left.key).read()


def test_each_mailbox_has_its_own_trash(tmp_path: Path) -> None:
    (tmp_path / "example.com").mkdir()
    for name in ("ada", "bob"):
        Maildir(tmp_path / "example.com" / name).deliver(b"Subject: to all\n\n")
    Maildir(tmp_path / "example.com" / "ada").folder("Sub").deliver(b"Subject: to all\n\n")
    boxes = MailboxSet(MailboxTree(str(tmp_path), "{domain}/{local}"))
    with TestClient(Guard(application(boxes)), base_url="http://127.0.0.1") as client:
        page = client.post("/delete").text
        assert "3 messages deleted." in page
        assert len(list(Maildir(tmp_path / "example.com" / "ada").folder("Trash").messages())) == 2
        assert len(list(Maildir(tmp_path / "example.com" / "bob").folder("Trash").messages())) == 1
        undo(client, page)
        totals = {one["name"]: one["total"] for one in client.get("/api/mailboxes").json()["mailboxes"]}
        assert totals == {"ada@example.com": 1, "ada@example.com/Sub": 1, "bob@example.com": 1}
