"""The inbox page and its API: what is in the Maildir is shown, and nothing in a message is trusted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._mail.message import read_mail
from maildir_safe._mail.words import field_text
from maildir_safe._web import api
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard

EVIL = '<script>alert("x")</script>'


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "m")


@pytest.fixture
def client(maildir: Maildir) -> Iterator[TestClient]:
    with TestClient(Guard(application(maildir)), base_url="http://127.0.0.1") as client:
        yield client


def mail(subject: str = "Hello", html: str = "", attachment: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.com>"
    message["To"] = "you@example.org"
    message["Subject"] = subject
    message.set_content("the text\n")
    if html:
        message.add_alternative(html, subtype="html")
    if attachment:
        message.add_attachment(b"\0data", maintype="application", subtype="pdf", filename=attachment)
    return message


def test_the_list_shows_who_wrote_to_whom_about_what(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail("Überraschung"), recipient="box+tag@example.org")
    page = client.get("/").text
    for text in ("Ada", "box+tag@example.org", "Überraschung"):
        assert text in page
    (entry,) = client.get("/api/messages").json()["messages"]
    assert (entry["from"], entry["envelope_to"]) == ("Ada <ada@example.com>", ["box+tag@example.org"])


def test_the_list_shows_the_first_words_of_the_text(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(f"Subject: s\n\nBegins {EVIL} and\n\n  goes on\n".encode())
    assert "Begins &lt;script&gt;" in client.get("/").text
    assert client.get("/api/messages").json()["messages"][0]["snippet"] == f"Begins {EVIL} and goes on"


def test_the_newest_comes_first_and_pages_follow(client: TestClient, maildir: Maildir) -> None:
    for number in range(120):
        maildir.deliver(f"Subject: n{number}\n\n")
    subjects = [
        entry["subject"]
        for offset in (0, 50, 100)
        for entry in client.get(f"/api/messages?limit=50&offset={offset}").json()["messages"]
    ]
    assert subjects == [f"n{number}" for number in reversed(range(120))]
    assert "1\u201350 of 120" in client.get("/").text


def test_opening_a_message_marks_it_as_read(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail()).key
    assert client.get("/api/messages").json()["messages"][0]["unread"]
    assert "the text" in client.get(f"/message/{key}?view=text").text
    assert maildir.find(key).flags == "S"
    assert not client.get("/api/messages").json()["messages"][0]["unread"]


def test_another_programs_changes_are_seen(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail("first")).key
    assert client.get("/api/messages").json()["total"] == 1
    Maildir(maildir.path).deliver(mail("second"))
    assert client.get("/api/messages").json()["total"] == 2
    Maildir(maildir.path).discard(key)
    assert [entry["subject"] for entry in client.get("/api/messages").json()["messages"]] == ["second"]
    assert client.get(f"/message/{key}").status_code == 404


@pytest.mark.parametrize("words", ["needle", "NEEDLE hay", "ünïcode"])
def test_search_finds_in_headers_and_text(client: TestClient, maildir: Maildir, words: str) -> None:
    maildir.deliver(mail("nothing"))
    maildir.deliver(mail("a needle in the hay: ünïcode"))
    found = client.get("/api/messages", params={"search": words}).json()
    assert [entry["subject"] for entry in found["messages"]] == ["a needle in the hay: ünïcode"]
    assert found["search_complete"]


def test_raw_and_attachments_come_as_downloads(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail(attachment="../../etc/passwd")).key
    raw = client.get(f"/api/messages/{key}/raw")
    with maildir.open(key) as file:
        assert raw.content == file.read()
    (part,) = client.get(f"/api/messages/{key}").json()["attachments"]
    answer = client.get(f"/api/messages/{key}/attachments/{part['number']}")
    assert answer.content == b"\0data"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''passwd"
    assert client.get(f"/api/messages/{key}/attachments/99").status_code == 404


def test_deleting_one_and_all_leaves_the_maildir(client: TestClient, maildir: Maildir) -> None:
    keys = [maildir.deliver(mail(f"n{number}")).key for number in range(4)]
    assert client.delete(f"/api/messages/{keys[0]}").json() == {"removed": 1}
    assert client.delete(f"/api/messages/{keys[0]}").status_code == 404
    assert client.post(f"/message/{keys[1]}/delete", follow_redirects=False).status_code == 303
    assert client.get("/api/messages").json()["total"] == 2
    assert client.delete("/api/messages").json() == {"removed": 2}
    assert sorted(path.name for path in Path(maildir.path).iterdir()) == [".Trash", "cur", "new", "tmp"]
    maildir.deliver(mail())


@pytest.mark.parametrize("field", ["subject", "from", "text", "name", "header", "recipient"])
def test_nothing_shown_can_become_markup(client: TestClient, maildir: Maildir, field: str) -> None:
    heads = {"subject": "Subject", "from": "From", "name": "Content-Type", "header": f"X-{EVIL}"}
    value = f'application/x; name="{EVIL}"' if field == "name" else EVIL
    raw = f"{heads.get(field, 'To')}: {value}\n\n{EVIL}"
    key = maildir.deliver(raw, recipient=EVIL).key
    for path in (
        "/",
        f"/message/{key}?view=text",
        f"/message/{key}?view=headers",
        f"/message/{key}?view=source",
    ):
        assert "<script>alert" not in client.get(path).text, (path, field)
        assert "default-src 'none'" in client.get(path).headers["content-security-policy"]


def test_html_is_framed_without_scripts_and_without_the_network(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(mail(html=f"<b>hi</b>{EVIL}<img src=https://tracker.example/p.gif>")).key
    assert (
        '<iframe sandbox="allow-same-origin allow-popups allow-popups-to-escape-sandbox" '
        in client.get(f"/message/{key}").text
    )
    policy = client.get(f"/message/{key}/html").headers["content-security-policy"]
    assert "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox;" in policy
    assert "default-src 'none'; img-src data:;" in policy
    assert "script" not in policy
    assert "https:" in client.get(f"/message/{key}/html?remote").headers["content-security-policy"]


def test_inline_images_are_put_into_the_page(client: TestClient, maildir: Maildir) -> None:
    message = mail(html='<img src="cid:pic">')
    message.get_payload()[1].add_related(b"PNG", "image", "png", cid="<pic>")  # type: ignore[union-attr,index]
    key = maildir.deliver(message).key
    assert "data:image/png;base64,UE5H" in client.get(f"/message/{key}/html").text


def test_strange_hosts_and_strange_origins_are_refused(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail())
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert client.delete("/api/messages", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/delete", headers={"Origin": "null"}).status_code == 403
    assert client.get("/api/messages").json()["total"] == 1
    assert client.post("/delete", headers={"Origin": "http://127.0.0.1"}).status_code == 200


@pytest.mark.parametrize("key", ["..%2f..%2fetc%2fpasswd", "%00", "x" * 5000, ".%2e"])
def test_a_key_is_no_path(client: TestClient, maildir: Maildir, key: str) -> None:
    maildir.deliver(mail())
    for path in (f"/message/{key}", f"/api/messages/{key}/raw"):
        assert client.get(path).status_code in (404, 307, 200)
        assert "root:" not in client.get(path).text
    assert client.delete(f"/api/messages/{key}").status_code in (404, 405)
    assert client.get("/api/messages").json()["total"] == 1


def test_wait_gives_the_message_that_comes_later(client: TestClient, maildir: Maildir) -> None:
    def later() -> None:
        time.sleep(0.5)
        maildir.deliver(mail("other"), recipient="you@example.org")
        maildir.deliver(mail("Your code"), recipient="you@example.org")

    thread = threading.Thread(target=later)
    thread.start()
    answer = client.get("/api/wait", params={"to": "YOU@", "subject": "code", "timeout": "20"})
    thread.join()
    assert answer.json()["subject"] == "Your code"
    after = client.get("/api/wait", params={"subject": "code", "after": answer.json()["key"], "timeout": "0"})
    assert after.status_code == 404


def test_wait_ends_when_its_time_is_over_and_says_what_it_did_not_examine(
    client: TestClient, maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir.deliver(b"Subject: the oldest\n\n")
    maildir.deliver_many([b"Subject: another\n\n"] * 599)
    with monkeypatch.context() as patch:
        patch.setattr(api, "_LOOK", 0.0)
        answer = client.get("/api/wait", params={"subject": "oldest", "timeout": "0"})
    assert answer.status_code == 404
    assert "600 older messages could not be examined" in answer.json()["error"]
    answer = client.get("/api/wait", params={"subject": "oldest", "timeout": "0"})
    assert answer.json()["subject"] == "the oldest"


def test_health_readiness_and_metrics(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(mail())
    assert client.get("/health").text == "ok\n"
    assert client.get("/ready").status_code == 200
    assert "maildir_safe_messages 1.0" in client.get("/metrics").text
    Path(maildir.path, "tmp").rmdir()
    time.sleep(5.1)  # until the directories are opened anew
    answer = client.get("/ready")
    assert (answer.status_code, "tmp" in answer.text) == (503, True)


@pytest.mark.parametrize(
    "query",
    [
        *("limit=-1", "limit=x", "limit=501", "limit=nan", "limit=1&limit=2", "limit=%D9%A1"),
        *("offset=1e99", "offset=-5", "offset=", "serach=x"),
    ],
)
def test_a_parameter_that_is_unknown_or_malformed_is_named(
    client: TestClient, maildir: Maildir, query: str
) -> None:
    """`subjct=` gave any message, and `limit=x` the default."""
    maildir.deliver(mail())
    answer = client.get(f"/api/messages?{query}")
    assert (answer.status_code, query.partition("=")[0] in answer.json()["error"]) == (400, True)
    assert client.get(f"/?{query}").status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/wait?subjct=x"),
        ("GET", "/api/wait?timeout=x"),
        ("GET", "/api/wait?timeout=61"),
        ("GET", "/api/wait?timeout=-1"),
        ("GET", "/api/wait?after=nobody"),
        ("DELETE", "/api/messages?serach=x"),
        ("DELETE", "/api/messages?upto=nobody"),
        ("GET", "/api/messages/{key}?x=1"),
        ("GET", "/api/messages/{key}/raw?x=1"),
        ("DELETE", "/api/messages/{key}?x=1"),
        ("POST", "/delete?serach=x"),
        ("POST", "/message/{key}/delete?x=1"),
        ("GET", "/message/{key}?view=x"),
        ("GET", "/events?version=x"),
    ],
)
def test_nothing_is_done_for_a_request_that_is_wrong(
    client: TestClient, maildir: Maildir, method: str, path: str
) -> None:
    key = maildir.deliver(mail()).key
    answer = client.request(method, path.format(key=key))
    assert answer.status_code == 400
    assert len(list(maildir.messages())) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("POST", "/api/messages", 405),
        ("GET", "/api/messages/none", 404),
        ("GET", "/api/messages?x=1", 400),
    ],
)
def test_errors_of_the_api_are_json(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert list(client.get("/api/messages", headers={"Host": "evil.example"}).json()) == ["error"]


def test_an_error_of_the_page_has_the_way_back(client: TestClient) -> None:
    answer = client.get("/message/none")
    assert (answer.status_code, 'href="/"' in answer.text) == (404, True)


# Messages that are broken on purpose


def nested(depth: int) -> bytes:
    heads = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return b"Subject: deep\n" + heads + b"Content-Type: text/plain\n\nhi\n"


@pytest.mark.parametrize(
    "raw",
    [
        nested(5000),
        b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\nContent-Type: text/plain\n\nhi\n" * 5000,
        b"\0" * 1000,
        b"",
        b'Content-Type: text/html; charset="\xff"\n\n\xff',
        b"Subject: =?utf-8?b?" + b"A" * 100_000 + b"?=\n\n",
        b"Content-Transfer-Encoding: base64\n\n" + b"!" * 1_000_000,
        b"a:" * 300_000,
        b"Content-Type: multipart/alternative\n\nno boundary\n",
        b"From: =?x-unknown?q?a?=\nSubject: =?utf-8?q?\x1b[31m?=\n\n",
    ],
    ids=["deep", "many", "nul", "empty", "charset", "encoded", "base64", "headers", "boundary", "words"],
)
def test_broken_messages_are_shown_all_the_same(client: TestClient, maildir: Maildir, raw: bytes) -> None:
    key = maildir.deliver(raw).key
    assert client.get("/").status_code == 200
    assert client.get(f"/message/{key}").status_code == 200
    assert client.get(f"/api/messages/{key}").status_code == 200
    assert client.get(f"/api/messages/{key}/raw").content == raw


def test_headers_lose_what_does_not_print() -> None:
    assert "\x1b" not in field_text(b"=?utf-8?q?=1B[31mred?=")
    assert field_text(b"=?utf-8?q?=C3=A9?= plain") == "é plain"
    assert read_mail(b"Subject: a\n b\n\n").summary.subject.split() == ["a", "b"]
