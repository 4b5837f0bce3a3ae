"""Mailpit's API on our page's server: shapes, search, tags, reading, deleting, and strict parameters."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web import mailpit_entries
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "m")


@pytest.fixture
def client(maildir: Maildir) -> Iterator[TestClient]:
    with TestClient(Guard(application(maildir)), base_url="http://127.0.0.1") as client:
        yield client


def mail(
    subject: str = "Hello", text: str = "the text\n", attachment: str = "", **fields: str
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.com>"
    message["To"] = "Bob <bob@example.org>"
    message["Subject"] = subject
    message["Message-ID"] = f"<{subject.split()[0].lower().encode('ascii', 'ignore').decode()}@example.com>"
    message["Date"] = "Tue, 03 Feb 2026 10:00:00 +0100"
    for name, value in fields.items():
        message[name] = value
    message.set_content(text)
    if attachment:
        message.add_attachment(b"\0data", maintype="application", subtype="pdf", filename=attachment)
    return message


def found(client: TestClient, query: str) -> list[str]:
    answer = client.get("/api/v1/search", params={"query": query})
    assert answer.status_code == 200, answer.text
    listed: dict[str, Any] = answer.json()
    assert listed["messages_count"] == len(listed["messages"])
    return sorted(one["Subject"] for one in listed["messages"])


def test_a_list_has_mailpits_shape(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail(attachment="a.pdf"), recipient="hidden@example.org").key
    listed = client.get("/api/v1/messages").json()
    (entry,) = listed.pop("messages")
    assert listed == {
        "total": 1, "unread": 1, "count": 1, "messages_count": 1, "messages_unread": 1, "start": 0,
        "tags": [],
    }  # fmt: skip
    assert entry.pop("Created").endswith("Z")
    assert entry == {
        "ID": key, "MessageID": "hello@example.com", "Read": False,
        "From": {"Name": "Ada", "Address": "ada@example.com"},
        "To": [{"Name": "Bob", "Address": "bob@example.org"}], "Cc": [],
        "Bcc": [{"Name": "", "Address": "hidden@example.org"}], "ReplyTo": [], "Subject": "Hello",
        "Username": "", "Tags": [], "Size": maildir.size(), "Attachments": 1, "Snippet": "the text",
    }  # fmt: skip


def test_start_and_limit(client: TestClient, maildir: Maildir) -> None:
    for number in range(5):
        maildir.deliver(mail(f"n{number}"))
    listed = client.get("/api/v1/messages", params={"start": 1, "limit": 2}).json()
    assert [one["Subject"] for one in listed["messages"]] == ["n3", "n2"]
    assert (listed["start"], listed["count"], listed["messages_count"], listed["total"]) == (1, 2, 5, 5)
    assert client.get("/api/v1/messages", params={"limit": 0}).json()["messages"] == []


def test_a_message_has_mailpits_shape_and_is_read_then(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail(attachment="ä.pdf"), sender="bounce@example.com").key
    message = client.get(f"/api/v1/message/{key}").json()
    assert (message["ID"], message["ReturnPath"], message["Date"]) == (
        key, "bounce@example.com", "2026-02-03T10:00:00+01:00",
    )  # fmt: skip
    assert (message["Text"], message["HTML"], message["Inline"]) == ("the text\n", "", [])
    (file,) = message["Attachments"]
    assert (file["FileName"], file["ContentType"], file["Size"]) == ("ä.pdf", "application/pdf", 5)
    assert file["Checksums"]["MD5"] == hashlib.md5(b"\0data").hexdigest()
    part = client.get(f"/api/v1/message/latest/part/{file['PartID']}")
    assert (part.content, part.headers["content-type"]) == (b"\0data", "application/pdf")
    assert "sandbox" in part.headers["content-security-policy"]
    assert maildir.find(key).flags == "S"
    assert client.get("/api/v1/messages").json()["unread"] == 0


def test_headers_source_and_views(client: TestClient, maildir: Maildir) -> None:
    message = mail("Views")
    message.add_alternative("<p>Hi <script>alert(1)</script></p>", subtype="html")
    key = maildir.deliver(message, recipient="bob@example.org").key
    headers = client.get("/api/v1/message/latest/headers").json()
    assert headers["Message-Id"] == ["<views@example.com>"]
    assert headers["Delivered-To"] == ["bob@example.org"]
    assert b"Subject: Views" in client.get(f"/api/v1/message/{key}/raw").content
    assert client.get(f"/view/{key}.txt").text == "the text\n"
    page = client.get("/view/latest.html")
    assert "<p>Hi" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert "script-src" not in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["message/none", "message/latest", "message/none/raw", "message/latest/headers"]
)
def test_what_is_not_there_is_404(client: TestClient, path: str) -> None:
    assert client.get(f"/api/v1/message/{path}").status_code == 404


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ("from:ada", ["Grüße aus Köln", "Invoice 12"]),
        ("from:ADA@example", ["Grüße aus Köln", "Invoice 12"]),
        ("to:bob -subject:invoice", ["Grüße aus Köln"]),
        ("!subject:invoice", ["Grüße aus Köln"]),
        ('subject:"GRÜSSE aus"', ["Grüße aus Köln"]),
        ('"needle in a base64"', ["Grüße aus Köln"]),
        ("body:NEEDLE", ["Grüße aus Köln"]),
        ("body:invoice", []),
        ("cc:zoë", ["Grüße aus Köln"]),
        ("bcc:hidden@", ["Invoice 12"]),
        ("reply-to:answers", ["Invoice 12"]),
        ("addressed:answers", ["Invoice 12"]),
        ("message-id:invoice@example.com", ["Invoice 12"]),
        ("has:attachment", ["Invoice 12"]),
        ("-has:attachments", ["Grüße aus Köln"]),
        ("räum.pdf", ["Invoice 12"]),
        ("is:unread", ["Grüße aus Köln", "Invoice 12"]),
        ("is:read", []),
        ("larger:20k", ["Grüße aus Köln"]),
        ("smaller:20k", ["Invoice 12"]),
        ("-larger:0.02M", ["Invoice 12"]),
        ("after:2026-01-01", ["Grüße aus Köln", "Invoice 12"]),
        ("before:2026-01-01", []),
        ("before:2126/01/01 after:1700000000", ["Grüße aus Köln", "Invoice 12"]),
        ("Reply-To", []),  # the name of a header
        ("%", []),
    ],
)
def test_search(client: TestClient, maildir: Maildir, query: str, subjects: list[str]) -> None:
    text = f"{'so viel Text, ' * 2000}\nA nëedle; a needle in a base64 body\n"
    one = mail("Grüße aus Köln", "", Cc="Zoë <zoe@example.org>")
    one.set_content(text, cte="base64")
    maildir.deliver(one)
    maildir.deliver(mail("Invoice 12", attachment="Räum.pdf", **{"Reply-To": "answers@example.net"}),
                    recipient="hidden@example.net")  # fmt: skip
    assert found(client, query) == subjects


def test_a_search_finds_what_is_far_down_and_in_every_text_part(client: TestClient, maildir: Maildir) -> None:
    long = mail("far", "x" * 70 + "\n" + ("y" * 70 + "\n") * 30_000 + "thelastword\n")
    long.add_attachment("a second text: secondpart\n", subtype="plain", filename="notes.txt")
    inner = mail("inside", "forwardedword\n")
    long.add_attachment(inner)
    maildir.deliver(long)
    for word in ("thelastword", "secondpart", "forwardedword", "notes.txt"):
        assert found(client, word) == ["far"], word
        assert client.get("/api/messages", params={"search": word}).json()["total"] == 1


def test_tags_survive_a_restart_and_a_change_of_flags(client: TestClient, maildir: Maildir) -> None:
    key, other = (maildir.deliver(mail(subject)).key for subject in ("one", "two"))
    body = {"IDs": [key, other], "Tags": ["Red", "Tag 2"]}
    assert client.put("/api/v1/tags", json=body).text == "ok"
    assert client.put("/api/v1/tags", json={"IDs": [other], "Tags": []}).text == "ok"
    maildir.set_flags(key, "SF")
    with TestClient(application(Maildir(maildir.path)), base_url="http://127.0.0.1") as restarted:
        assert restarted.get("/api/v1/tags").json() == ["Red", "Tag 2"]
        assert found(restarted, "tag:red") == ["one"]
        assert found(restarted, 'tag:"tag 2" is:tagged') == ["one"]
        assert found(restarted, "-is:tagged") == ["two"]
        assert restarted.get(f"/api/v1/message/{key}").json()["Tags"] == ["Red", "Tag 2"]
        assert restarted.put("/api/v1/tags/Red", json={"Name": "Blue"}).text == "ok"
        assert restarted.delete("/api/v1/tags/Tag%202").text == "ok"
        assert restarted.get("/api/v1/tags").json() == ["Blue"]
        assert restarted.delete("/api/v1/tags/Tag%202").status_code == 404
        maildir.discard(key)
        assert restarted.get("/api/v1/tags").json() == []


def test_a_damaged_file_of_tags_is_an_error_and_stays(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail()).key
    file = Path(maildir.path) / "maildir-safe-tags"
    file.write_text("{")
    assert client.get("/api/v1/messages").status_code == 503
    assert client.put("/api/v1/tags", json={"IDs": [key], "Tags": ["x"]}).status_code == 503
    assert file.read_text() == "{"


def test_marking_and_deleting(client: TestClient, maildir: Maildir) -> None:
    keys = {subject: maildir.deliver(mail(subject)).key for subject in ("one", "two", "three")}
    assert client.put("/api/v1/messages", json={"IDs": [keys["one"]], "Read": True}).text == "ok"
    assert found(client, "is:read") == ["one"]
    assert client.put("/api/v1/messages", json={"Search": "subject:two", "Read": True}).text == "ok"
    assert found(client, "is:read") == ["one", "two"]
    assert client.put("/api/v1/messages", json={"Read": False}).text == "ok"
    assert found(client, "is:unread") == ["one", "three", "two"]
    assert client.request("DELETE", "/api/v1/messages", json={"IDs": [keys["one"], "none"]}).text == "ok"
    assert client.delete("/api/v1/search", params={"query": "subject:two"}).text == "ok"
    assert [message.key for message in maildir.messages()] == [keys["three"]]
    assert client.delete("/api/v1/messages").text == "ok"
    assert list(maildir.messages()) == []


def test_a_malformed_request_to_delete_deletes_nothing(client: TestClient, maildir: Maildir) -> None:
    """Mailpit deletes everything then."""
    maildir.deliver(mail())
    for body in ('{"IDs": ["a"', '{"IDs": "a"}', '{"IDS2": []}', "[]", '{"IDs": [], "ids": []}'):
        assert client.request("DELETE", "/api/v1/messages", content=body).status_code == 400, body
    assert len(list(maildir.messages())) == 1


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("GET", "messages?limit=-1", "limit"),
        ("GET", "messages?start=x", "start"),
        ("GET", "messages?size=5", "size"),
        ("GET", "search", "query"),
        ("GET", "search?query=is:new", "is:new"),
        ("GET", "search?query=larger:big", "big"),
        ("GET", "search?query=after:yesterday", "yesterday"),
        ("GET", "search?query=from:", "from"),
        ("GET", "search?query=a&tz=Mars/Base", "tz"),
        ("DELETE", "search", "query"),
        ("GET", "wait?query=a&timeout=1000", "timeout"),
        ("GET", "message/latest?dl=1", "dl"),
        ("GET", "info?x=1", "x"),
        ("GET", "chaos", "Chaos"),
    ],
)
def test_unknown_and_malformed_parameters_are_named(
    client: TestClient, method: str, path: str, named: str
) -> None:
    answer = client.request(method, f"/api/v1/{path}")
    assert answer.status_code == 400
    assert named in answer.text


def test_wait(client: TestClient, maildir: Maildir) -> None:
    missing = client.get("/api/v1/wait", params={"query": "subject:later", "timeout": "0"})
    assert missing.status_code == 404
    late = threading.Timer(0.3, lambda: maildir.deliver(mail("later")))
    late.start()
    answer = client.get("/api/v1/wait", params={"query": "subject:later is:unread", "timeout": "60"})
    late.join()
    assert [one["Subject"] for one in answer.json()["messages"]] == ["later"]


def test_sending(client: TestClient, maildir: Maildir) -> None:
    body = {
        "From": {"Name": "Ada Ö", "Email": "ada@example.com"}, "To": [{"Email": "bob@example.org"}],
        "Cc": [{"Name": "C", "Email": "c@example.org"}], "Bcc": ["d@example.org"],
        "ReplyTo": [{"Email": "r@example.org"}], "Subject": "Über\r\nBcc: x@example.org", "Text": "hi",
        "HTML": "<b>hi</b>", "Tags": ["T1"], "Headers": {"X-One": "1"},
        "Attachments": [
            {"Content": "data:image/png;base64,AAEC", "Filename": "a.png", "ContentType": "image/png",
             "ContentID": "c1"},
            {"Content": "AAEC", "Filename": "b.bin"},
        ],
    }  # fmt: skip
    key = client.post("/api/v1/send", json=body).json()["ID"]
    assert maildir.find(key)
    message = client.get(f"/api/v1/message/{key}").json()
    assert message["Subject"] == "Über Bcc: x@example.org"
    assert message["From"] == {"Name": "Ada Ö", "Address": "ada@example.com"}
    assert [one["Address"] for one in message["Bcc"]] == ["d@example.org"]
    assert (message["Text"].strip(), message["HTML"].strip(), message["Tags"]) == ("hi", "<b>hi</b>", ["T1"])
    assert [(one["FileName"], one["ContentID"], one["Size"]) for one in message["Inline"]] == [
        ("a.png", "c1", 3)
    ]
    assert [(one["FileName"], one["Size"]) for one in message["Attachments"]] == [("b.bin", 3)]


FROM = {"Email": "ada@example.com"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "From"),
        ({"From": {"Email": "ada"}}, "From"),
        ({"From": FROM, "To": [{"Email": "a@b\r\nX: y"}]}, "To"),
        ({"From": {**FROM, "Name": "a\nb"}}, "From"),
        ({"From": FROM, "Subjekt": "x"}, "Subjekt"),
        ({"From": FROM, "Headers": {"Bcc": "x"}}, "Bcc"),
        ({"From": FROM, "Headers": {"X-A": "a\nB: c"}}, "X-A"),
        ({"From": FROM, "Headers": {"X A": "a"}}, "X A"),
        ({"From": FROM, "Tags": ["<b>"]}, "<b>"),
        ({"From": FROM, "Attachments": [{"Content": "!", "Filename": "f"}]}, "Attachments.Content"),
        ({"From": FROM, "Attachments": [{"Content": "", "ContentType": "a\n/b"}]}, "Attachments"),
        ({"From": FROM, "To": ["x@example.com"]}, "To"),
    ],
)
def test_a_malformed_message_is_refused_by_name(
    client: TestClient, maildir: Maildir, body: Any, named: str
) -> None:
    answer = client.post("/api/v1/send", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["Error"]
    assert list(maildir.messages()) == []


def test_information_and_health(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail())
    about = client.get("/api/v1/info").json()
    assert (about["Messages"], about["Unread"], about["Tags"]) == (1, 1, {})
    assert about["DatabaseSize"] == maildir.size()
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_halves_of_characters_and_endless_bodies_are_refused(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail())
    half = "\\ud800"
    for path, body in (
        ("send", f'{{"From": {{"Email": "a@b"}}, "Subject": "{half}"}}'),
        ("send", f'{{"From": {{"Email": "a@b"}}, "Text": "{half}"}}'),
        ("send", f'{{"{half}": 1}}'),
        ("tags", f'{{"Tags": ["{half}"]}}'),
        ("tags", "[" * 100_000),
        ("tags", '{"Tags": 1}'),
    ):
        method = "POST" if path == "send" else "PUT"
        answer = client.request(method, f"/api/v1/{path}", content=body)
        assert answer.status_code == 400, (body[:50], answer.status_code)
    assert client.put("/api/v1/messages", content=b" " * (5 << 20)).status_code == 413
    assert [message.flags for message in maildir.messages()] == [""]


_WORD = "=?utf-8?q?a?= "


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("Subject", _WORD * 40_000, "Subject: longer than 8192"),
        ("Headers", {"X-A": _WORD * 1000}, "X-A: longer than 8192"),
        ("Headers", {f"X-{number}": _WORD * 500 for number in range(100)}, "65536 characters in all"),
        ("Headers", {f"X-{number}": "" for number in range(101)}, "more than 100"),
        ("Text", "x\n" * (2 << 20), "Text: longer than"),
        ("HTML", "x\n" * (2 << 20), "HTML: longer than"),
        ("To", [{"Email": "a@b.c", "Name": _WORD * 100}], "To.Name: longer than 320"),
        ("Attachments", [{"Content": "", "Filename": "x" * 321}], "Filename or ContentID: longer than 320"),
        ("Attachments", [{"Content": "", "ContentID": "x" * 321}], "Filename or ContentID: longer than 320"),
    ],
)
def test_what_would_take_minutes_to_build_is_refused(
    client: TestClient, maildir: Maildir, field: str, value: object, said: str
) -> None:
    """The package `email` takes quadratic time: 560 KB of encoded words took three minutes."""
    answer = client.post("/api/v1/send", json={"From": {"Email": "a@b.c"}, field: value})
    assert (answer.status_code, said in answer.text) == (400, True)
    assert list(maildir.messages()) == []


def test_a_form_as_an_older_client_sends_it(client: TestClient, maildir: Maildir) -> None:
    one, two = (maildir.deliver(mail(subject)).key for subject in ("one", "two"))
    form = {"ids": [one], "Read": "True"}
    assert client.put("/api/v1/messages", data=form).text == "ok"
    assert found(client, "is:read") == ["one"]
    assert client.put("/api/v1/messages", data={**form, "read": "False"}).status_code == 400
    assert client.request("DELETE", "/api/v1/messages", data={"ids": [two]}).text == "ok"
    assert [message.key for message in maildir.messages()] == [one]


def test_a_foreign_page_may_not_delete(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail())
    answer = client.delete("/api/v1/messages", headers={"Origin": "http://evil.example"})
    assert (answer.status_code, len(list(maildir.messages()))) == (403, 1)


def test_a_body_is_read_once_for_all_terms_of_a_query(
    client: TestClient, maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir.deliver(mail(text="a needle\n"))
    calls = []
    real = mailpit_entries.read_everything
    monkeypatch.setattr(
        mailpit_entries,
        "read_everything",
        lambda raw: calls.append(raw) or real(raw),  # type: ignore[func-returns-value]
    )
    query = " ".join(["body:needle"] * 50)
    assert client.get("/api/v1/search", params={"query": query}).json()["messages_count"] == 1
    assert len(calls) <= 2
