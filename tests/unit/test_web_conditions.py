"""`is:unread` and the like in a search of the page and of /api/messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web.app import application


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    maildir = Maildir(tmp_path / "m")
    for subject, flags in (("old news", "S"), ("old star", "FS"), ("new news", ""), ("new star", "F")):
        key = maildir.deliver(f"Subject: {subject}\n\ntext\n".encode()).key
        if flags:
            maildir.set_flags(key, flags)
    return TestClient(application(maildir), base_url="http://127.0.0.1")


def subjects(client: TestClient, search: str) -> list[str]:
    answer = client.get("/api/messages", params={"search": search}).json()
    assert answer["search_complete"]
    return [one["subject"] for one in answer["messages"]]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("is:unread", ["new star", "new news"]),
        ("IS:READ", ["old star", "old news"]),
        ("is:starred", ["new star", "old star"]),
        ("is:unread news", ["new news"]),
        ("star is:read is:starred", ["old star"]),
        ("is:unread is:read", []),
        ("is:other", []),
    ],
)
def test_conditions_narrow_a_search(client: TestClient, search: str, found: list[str]) -> None:
    assert subjects(client, search) == found


def test_only_what_is_found_is_deleted(client: TestClient) -> None:
    assert client.delete("/api/messages", params={"search": "is:read"}).json() == {"removed": 2}
    assert subjects(client, "") == ["new star", "new news"]


def test_the_page_leads_to_the_unread_ones(client: TestClient) -> None:
    assert '<a href="/?search=is%3Aunread">2 unread</a> of 4' in client.get("/").text
    page = client.get("/?search=is:unread").text
    assert ("new star" in page, "old star" in page) == (True, False)
    client.delete("/api/messages", params={"search": "is:unread"})
    assert "No message is unread." in client.get("/?search=is:unread").text
    assert "unread</a>" not in client.get("/").text


def test_a_search_that_was_cut_says_so_and_goes_on(client: TestClient) -> None:
    inbox = client.app.state.inbox  # type: ignore[attr-defined]
    inbox.search = lambda messages, words: (messages.of([]), False)  # noqa: ARG005
    page = client.get("/?search=seldom").text
    assert "Nothing so far." in page
    assert "No message has" not in page
    assert '<a href="/?search=seldom">Search the rest</a>' in page
