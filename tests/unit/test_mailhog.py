"""MailHog's API on our page's server: shapes, search, deleting, strict parameters, and bounds."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web import mailhog_message
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "m")


@pytest.fixture
def client(maildir: Maildir) -> Iterator[TestClient]:
    with TestClient(Guard(application(maildir)), base_url="http://127.0.0.1") as client:
        yield client


def mail(subject: str = "Hello", text: str = "the text\n", attachment: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.com>"
    message["To"] = "Bob <bob@example.org>, zoe@example.net"
    message["Subject"] = subject
    message.set_content(text)
    if attachment:
        message.add_attachment(b"\0data", maintype="application", subtype="pdf", filename=attachment)
    return message


def found(client: TestClient, kind: str, query: str) -> list[str]:
    answer = client.get("/api/v2/search", params={"kind": kind, "query": query})
    assert answer.status_code == 200, answer.text
    listed: dict[str, Any] = answer.json()
    assert listed["total"] == listed["count"] == len(listed["items"])
    return sorted(one["Content"]["Headers"]["Subject"][0] for one in listed["items"])


def test_a_message_has_mailhogs_shape(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail(), sender="bounce@example.com", recipient="hidden@example.org").key
    listed = client.get("/api/v2/messages").json()
    (message,) = listed.pop("items")
    assert listed == {"total": 1, "count": 1, "start": 0}
    assert message == client.get(f"/api/v1/messages/{key}").json()
    assert message.pop("Created").endswith("Z")
    headers = message["Content"].pop("Headers")
    assert (headers["Subject"], headers["From"]) == (["Hello"], ["Ada <ada@example.com>"])
    data = message["Raw"].pop("Data")
    assert data.endswith("\r\n\r\nthe text\r\n")
    assert data.count("\n") == data.count("\r\n")
    assert message == {
        "ID": key,
        "From": {"Relays": None, "Mailbox": "bounce", "Domain": "example.com", "Params": ""},
        "To": [{"Relays": None, "Mailbox": "hidden", "Domain": "example.org", "Params": ""}],
        "Content": {"Body": "the text\r\n", "Size": maildir.size(), "MIME": None},
        "MIME": None,
        "Raw": {"From": "bounce@example.com", "To": ["hidden@example.org"], "Helo": ""},
    }


def test_parts_are_undecoded_and_nested(client: TestClient, maildir: Maildir) -> None:
    message = mail(attachment="a.pdf")
    message.get_payload()[0].add_alternative("<b>hi</b>", subtype="html")  # type: ignore[union-attr]
    key = maildir.deliver(message).key
    answer = client.get(f"/api/v1/messages/{key}").json()
    inner, file = answer["MIME"]["Parts"]
    assert file["Headers"]["Content-Disposition"] == ['attachment; filename="a.pdf"']
    assert file["Body"].strip() == "AGRhdGE="
    assert [one["Body"].strip() for one in inner["MIME"]["Parts"]] == ["the text", "<b>hi</b>"]
    assert answer["Content"]["Body"].count("AGRhdGE=") == 1
    assert answer["Content"]["MIME"] is None


def test_recipients_of_a_message_without_an_envelope(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail())
    (message,) = client.get("/api/v2/messages").json()["items"]
    assert message["Raw"]["From"] == "ada@example.com"
    assert message["Raw"]["To"] == ["bob@example.org", "zoe@example.net"]


@pytest.mark.parametrize(
    ("kind", "query", "subjects"),
    [
        ("from", "ADA@example.com", ["one", "two"]),
        ("from", "bounce@", ["two"]),
        ("from", "bob", []),
        ("to", "Bob@example.org", ["one", "two"]),
        ("to", "hidden@", ["two"]),
        ("to", "ada", []),
        ("containing", "a needle in", ["one"]),
        ("containing", "needle a", []),
        ("containing", "TWO", ["two"]),
        ("containing", "is:unread", []),
    ],
)
def test_search(client: TestClient, maildir: Maildir, kind: str, query: str, subjects: list[str]) -> None:
    maildir.deliver(mail("one", "a needle in hay\n"))
    maildir.deliver(mail("two"), sender="bounce@example.com", recipient="hidden@example.org")
    assert found(client, kind, query) == subjects


def test_start_and_limit(client: TestClient, maildir: Maildir) -> None:
    for number in range(4):
        maildir.deliver(mail(f"n{number}"))
    listed = client.get("/api/v2/messages", params={"start": 1, "limit": 2}).json()
    assert [one["Content"]["Headers"]["Subject"] for one in listed["items"]] == [["n2"], ["n1"]]
    assert (listed["start"], listed["count"], listed["total"]) == (1, 2, 4)
    assert client.get("/api/v2/messages", params={"limit": 0}).json()["count"] == 4
    assert client.get("/api/v2/messages", params={"start": 9}).json()["items"] == []


def test_deleting_one_and_all(client: TestClient, maildir: Maildir) -> None:
    """`DELETE /api/v1/messages` means the same in both APIs, and Mailpit's list keeps its own shape."""
    one, two, three = (maildir.deliver(mail(subject)).key for subject in ("one", "two", "three"))
    assert client.delete(f"/api/v1/messages/{two}").status_code == 200
    assert client.delete(f"/api/v1/messages/{two}").status_code == 404
    assert client.get(f"/api/v1/messages/{two}").status_code == 404
    assert client.delete("/api/v1/messages/").status_code == 404
    assert {message.key for message in maildir.messages()} == {one, three}
    assert {entry["ID"] for entry in client.get("/api/v1/messages").json()["messages"]} == {one, three}
    assert client.request("DELETE", "/api/v1/messages", json={"IDs": [one]}).status_code == 200
    assert [message.key for message in maildir.messages()] == [three]
    assert client.delete("/api/v1/messages").text == "ok"
    assert list(maildir.messages()) == []


def test_deleting_all_answers_a_client_without_accept_as_mailhog_does(
    client: TestClient, maildir: Maildir
) -> None:
    """The client for Node parses what it gets, unless that is empty."""
    maildir.deliver(mail())
    del client.headers["accept"]
    answer = client.delete("/api/v1/messages")
    assert (answer.status_code, answer.text, list(maildir.messages())) == (200, "", [])


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("v2/messages?limit=-1", "limit"),
        ("v2/messages?limit=undefined", "limit"),
        ("v2/messages?start=x", "start"),
        ("v2/messages?kind=to", "kind"),
        ("v2/search?query=a", "kind"),
        ("v2/search?kind=cc&query=a", "kind"),
        ("v2/search?kind=to", "query"),
        ("v2/search?kind=to&query=a&query=b", "query"),
        ("v2/search?kind=to&query=a&q=b", "q"),
    ],
)
def test_unknown_and_malformed_parameters_are_named(client: TestClient, path: str, named: str) -> None:
    answer = client.get(f"/api/{path}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{named}:")


def test_a_page_ends_where_its_room_ends(
    client: TestClient, maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is on the next page. Only a message that alone is too long is cut."""
    monkeypatch.setattr(mailhog_message.Room.__init__, "__defaults__", (10_000,))
    maildir.deliver(mail("long", "x\n" * 10_000))
    for subject in ("one", "two"):
        maildir.deliver(mail(subject, "y\n" * 1000))
    sizes = []
    for start in range(3):
        listed = client.get("/api/v2/messages", params={"start": start}).json()
        sizes.append([len(one["Raw"]["Data"]) for one in listed["items"]])
        assert listed["total"] == 3
    assert [len(page) for page in sizes] == [2, 1, 1]
    assert sizes[0][0] > 3000
    assert sizes[2][0] < 10_000 < maildir.size()


def test_hostile_messages(client: TestClient, maildir: Maildir) -> None:
    """Parts in parts to the depth that is read, and bytes that are not UTF-8."""
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(200))
    maildir.deliver(b"Subject: \xff\xfe\n" + deep + b"\n\xff\0\n")
    maildir.deliver(b"no header at all")
    maildir.deliver(b'From: @@@<>\nTo: "a@b" <,;:\n\n')
    answer = client.get("/api/v2/messages")
    assert answer.status_code == 200
    assert answer.json()["count"] == 3
