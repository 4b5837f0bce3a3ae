"""The page, its API, its search and `wait` read one and the same message alike."""

from __future__ import annotations

import base64
import os
import quopri
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._web import inbox as inbox_module
from maildir_safe._web.answers import ResponseBudget
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.mailbox_set import MailboxSet

MIXED = b"Content-Type: multipart/mixed; boundary=x\n\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    return Maildir(tmp_path / "m")


@pytest.fixture
def client(maildir: Maildir) -> Iterator[TestClient]:
    with TestClient(Guard(application(maildir), ["inbox.test"]), base_url="http://127.0.0.1") as client:
        yield client


def found(client: TestClient, words: str) -> int:
    total: int = client.get("/api/messages", params={"search": words}).json()["total"]
    return total


@pytest.mark.parametrize(
    "head",
    [
        "Subject: Grüße aus Köln\nFrom: Jürgen <jürgen@dömäin.example>\n".encode(),
        "Subject: Grüße aus Köln\nFrom: Jürgen <jürgen@dömäin.example>\n".encode("latin-1"),
        b"Subject: =?utf-8*de?q?Gr=C3=BC=C3=9Fe?= =?x-unknown?q?_aus?= K\xc3\xb6ln\n"
        b"From: =?utf-8?q?J=C3=BCrgen?= <j\xc3\xbcrgen@d\xc3\xb6m\xc3\xa4in.example>\n",
    ],
    ids=["utf8", "latin1", "mixed"],
)
def test_raw_and_encoded_headers_are_read_alike(client: TestClient, maildir: Maildir, head: bytes) -> None:
    key = maildir.deliver(head + b"\n\n", recipient="jürgen@dömäin.example").key
    shown = "Jürgen <jürgen@dömäin.example>"
    for answer in (
        client.get("/api/messages").json()["messages"][0],
        client.get(f"/api/messages/{key}").json(),
        client.get("/api/wait", params={"subject": "GRÜSSE", "to": "@dömäin", "timeout": "0"}).json(),
    ):
        assert (answer["subject"], answer["from"]) == ("Grüße aus Köln", shown)
        assert answer["envelope_to"] == ["jürgen@dömäin.example"]
    for path in ("/", f"/message/{key}", f"/message/{key}?view=headers"):
        assert "Grüße aus Köln" in client.get(path).text
    assert found(client, "grüsse jürgen") == 1


def test_an_encoded_name_cannot_forge_an_address(client: TestClient, maildir: Maildir) -> None:
    key = maildir.deliver(b"From: =?utf-8?q?boss=40bank.example=3E=2C_x_=3C?= <evil@example.com>\n\n").key
    answer = client.get(f"/api/messages/{key}").json()
    assert answer["from"] == '"boss@bank.example>, x <" <evil@example.com>'
    assert answer["from_address"] == "evil@example.com"
    assert dict(answer["headers"])["From"] == answer["from"]


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: x\n"
        + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(300))
        + b"\n" * 1_900_000,
        b"Subject: x\n" + MIXED + (b"--x\nContent-Type: text/plain" + b";" * 30_000 + b"\n\nx\n") * 700,
        b"Subject: x\nFrom: " + b"(a " * 80_000 + b"\n\n",
        b"Subject: x\nTo: " + b", ".join(b"n <a%d@b>" % n for n in range(2000)) + b"\n\n",
    ],
    ids=["nested", "parameters", "from", "recipients"],
)
def test_no_door_needs_minutes_for_a_message(client: TestClient, maildir: Maildir, raw: bytes) -> None:
    key = maildir.deliver(raw).key
    for path in ("/", f"/message/{key}", f"/message/{key}/html", f"/api/messages/{key}", "/?search=x",
                 "/api/wait?subject=x&timeout=0"):  # fmt: skip
        assert client.get(path).status_code == 200, path


def test_a_subject_behind_64_kib_of_recipients(client: TestClient, maildir: Maildir) -> None:
    to = b", ".join(b"a%d@example.com" % n for n in range(6000))
    maildir.deliver(b"To: " + to + b"\nSubject: here\n\n")
    assert client.get("/api/wait?subject=here&to=a5@&timeout=0").status_code == 200
    assert client.get("/api/messages").json()["messages"][0]["subject"] == "here"


# MIME


def test_an_attached_message_can_be_saved(client: TestClient, maildir: Maildir) -> None:
    inner = b"Subject: inner\n\ninner text\n"
    raw = (
        b"Subject: outer\n" + MIXED + b"--x\n\nouter text\n--x\n"
        b"Content-Type: message/rfc822\n\n" + inner + b"\n--x--\n"
    )  # fmt: skip
    key = maildir.deliver(raw).key
    answer = client.get(f"/api/messages/{key}").json()
    assert answer["text"] == "outer text"
    (part,) = answer["attachments"]
    saved = client.get(f"/api/messages/{key}/attachments/{part['number']}")
    assert (part["name"], saved.content) == ("inner.eml", inner)
    assert client.get("/api/messages").json()["messages"][0]["attached"]


def test_a_link_element_is_not_shown_as_text(client: TestClient, maildir: Maildir) -> None:
    html = '<head><link rel="stylesheet" title=">" href="https://x/a.css"><LINK\n rel=preconnect></head><p>hi'
    key = maildir.deliver(f"Content-Type: text/html\n\n{html}<iframe src=https://x></iframe>".encode()).key
    page = client.get(f"/message/{key}/html").text
    assert "&lt;" not in page
    assert re.search("<(link|iframe)", page, re.IGNORECASE) is None
    assert '<link rel="stylesheet"' in client.get(f"/message/{key}/html?remote=").text


@pytest.mark.parametrize(
    ("html", "offered"),
    [
        ('<img src="https://x/a.png">', True),
        ("<td background='//x/a.png'>", True),
        ("<style>@import 'https://x'; a{b:url(https://x/a)}</style>", True),
        ('<a href="https://x">link</a>', False),
        ("<p>plain</p>", False),
    ],
)
def test_remote_images_are_offered_only_where_there_are_some(
    client: TestClient, maildir: Maildir, html: str, offered: bool
) -> None:
    key = maildir.deliver(f"Content-Type: text/html\n\n{html}".encode()).key
    assert ("Load remote images" in client.get(f"/message/{key}").text) == offered


# Search


@pytest.mark.parametrize("coding", ["base64", "quoted-printable"])
@pytest.mark.parametrize("header", ["Content-Transfer-Encoding:{}", "content-transfer-encoding:  {} (c)"])
def test_search_reads_encoded_bodies_of_any_form(
    client: TestClient, maildir: Maildir, coding: str, header: str
) -> None:
    """Only bodies under 64 KiB whose header was written with exactly one blank were decoded."""
    text = ("filler " * 15_000 + "Die Äpfel sind reif").encode()
    body = base64.encodebytes(text) if coding == "base64" else quopri.encodestring(text)
    head = header.format(coding.upper())
    maildir.deliver(f"Subject: x\n{head}\nContent-Type: text/plain; charset=utf-8\n\n".encode() + body)
    assert found(client, "äpfel reif") == 1


def test_search_reads_the_values_of_headers_and_not_their_names(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(b"Subject: x\nX-Custom: needle\n\nbody\n", recipient="a@b")
    assert [found(client, words) for words in ("live", "custom", "subject", "needle", "a@b")] == [
        0,
        0,
        0,
        1,
        1,
    ]


def test_a_letter_with_many_accents_is_searched_in_seconds(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver("Subject: caf\u0065\u0301\n\n".encode() + b"a" + "\u0300\u0327".encode() * 250_000)
    assert [found(client, words) for words in ("café", "cafe\u0301", "cafe")] == [1, 1, 0]


def test_search_reads_html_as_a_person_does_and_names_of_attachments(
    client: TestClient, maildir: Maildir
) -> None:
    maildir.deliver(
        MIXED + b"--x\nContent-Type: text/html\n\n<table>Hello <b>wor</b>ld</table>\n--x\n"
        b"Content-Type: a/b\nContent-Disposition: attachment; filename*=utf-8''%C3%BC.pdf\n\n\n--x--\n"
    )
    assert [found(client, words) for words in ("world", "table", "ü.pdf")] == [1, 0, 1]


def test_a_search_says_exactly_how_many(client: TestClient, maildir: Maildir) -> None:
    """It stopped at the end of the page, and said "51 found, and perhaps more"."""
    maildir.deliver_many([f"Subject: find n{number}\n\n".encode() for number in range(130)])
    answer = client.get("/api/messages", params={"search": "find", "limit": "10"}).json()
    assert (answer["total"], answer["search_complete"], len(answer["messages"])) == (130, True, 10)
    assert "130 found." in client.get("/", params={"search": "find"}).text


# Delete


def test_deleting_with_a_search_deletes_what_is_found(client: TestClient, maildir: Maildir) -> None:
    """It deleted everything."""
    maildir.deliver_many([f"Subject: other n{number}\n\n".encode() for number in range(60)])
    maildir.deliver(b"Subject: needle\n\n")
    maildir.deliver(b"Subject: needle too\n\n")
    assert client.delete("/api/messages?search=needle").json() == {"removed": 2}
    assert client.get("/api/messages").json()["total"] == 60
    assert client.delete("/api/messages?search=needle").json() == {"removed": 0}


def test_the_button_deletes_what_its_list_shows(client: TestClient, maildir: Maildir) -> None:
    for subject in ("one", "needle", "needle"):
        maildir.deliver(f"Subject: {subject}\n\n")
    page = client.get("/?search=needle").text
    assert "Delete the 2 messages found by “needle”?" in page
    (action,) = re.findall(r'<form method="post" action="([^"]*)" id="delete-found">', page)
    client.get("/api/messages")
    late = maildir.deliver(b"Subject: needle that came later\n\n").key
    client.get("/api/messages")
    client.post(unquote(action.replace("&amp;", "&")))
    assert [m["subject"] for m in client.get("/api/messages").json()["messages"]] == [
        "needle that came later",
        "one",
    ]
    assert maildir.find(late)
    assert "Delete all 2 messages?" in client.get("/").text


def test_what_cannot_be_deleted_does_not_stop_the_rest(client: TestClient, maildir: Maildir) -> None:
    maildir.deliver(b"Subject: x\n\n")
    Path(maildir.path, "cur/1700000000.a").mkdir()
    maildir.deliver(b"Subject: y\n\n")
    client.delete("/api/messages")
    assert [p.name for p in Path(maildir.path).glob("*/*")] == ["1700000000.a"]


def test_a_directory_named_like_a_message_breaks_nothing(client: TestClient, maildir: Maildir) -> None:
    Path(maildir.path, "cur/1.a").mkdir()
    Path(maildir.path, "new/1700000000.M1P1Q1.host").mkdir()
    maildir.deliver(b"Subject: x\n\n")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/", "/api/messages", "/?search=x", "/api/messages?search=x", "/ready", "/metrics"):
        assert client.get(path).status_code == 200, path
    assert client.get("/api/messages").json()["total"] == 1
    assert client.get("/api/wait?subject=x&timeout=0").json()["subject"] == "x"
    for path in ("/message/1.a", "/message/1.a/html", "/api/messages/1.a", "/api/messages/1.a/raw"):
        assert client.get(path).status_code in (404, 503), path
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_fifo_or_socket_with_a_full_name_is_no_message(client: TestClient, maildir: Maildir) -> None:
    os.mkfifo(Path(maildir.path, "new/1700000000.M1P1Q1.host"))
    os.mknod(Path(maildir.path, "cur/1700000000.M1P1Q2.host:2,S"), stat.S_IFSOCK)
    maildir.deliver(b"Subject: x\n\n")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/", "/api/messages", "/?search=x", "/api/messages?search=x"):
        assert client.get(path).status_code == 200, path
    listed = client.get("/api/messages").json()
    assert (listed["total"], len(listed["messages"])) == (1, 1)
    for key in ("1700000000.M1P1Q1.host", "1700000000.M1P1Q2.host"):
        assert client.get(f"/api/messages/{key}").status_code == 404
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_message_that_cannot_be_read_now_is_a_503(
    client: TestClient, maildir: Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = maildir.deliver(b"Subject: x\n\n").key

    def fail(key: str) -> None:
        raise OSError(5, "Input/output error", key)

    monkeypatch.setattr(maildir, "open", fail)
    for path in (f"/message/{key}", f"/api/messages/{key}", f"/api/messages/{key}/raw"):
        assert client.get(path).status_code == 503, path
    assert "error" in client.get(f"/api/messages/{key}").json()
    assert client.get("/").status_code == 200


# Wait


def test_wait_looks_at_more_than_the_newest_500(client: TestClient, maildir: Maildir) -> None:
    for number in range(700):
        name = f"{1_700_000_000 + number}.M1P1Q1.host"
        Path(maildir.path, "cur", f"{name}:2,S").write_bytes(b"Subject: n%d\n\n" % number)
    assert client.get("/api/wait?subject=n0&timeout=0").json()["subject"] == "n0"


class Clock(OsFileSystem):
    back = 0

    def time_ns(self) -> int:  # type: ignore[override]
        return super().time_ns() - self.back * 10**9


def test_what_comes_after_a_message_does_not_depend_on_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    maildir = Maildir(tmp_path / "m", fs=clock)
    with TestClient(application(Maildir(tmp_path / "m")), base_url="http://127.0.0.1") as client:
        maildir.deliver(b"Subject: first\n\n")
        first = client.get("/api/wait?subject=first&timeout=0").json()["key"]
        clock.back = 3600
        maildir.deliver(b"Subject: second\n\n")
        answer = client.get("/api/wait", params={"after": first, "timeout": "0"})
        assert answer.json()["subject"] == "second"
        again = client.get("/api/wait", params={"after": answer.json()["key"], "timeout": "0"})
        assert again.status_code == 404


# Who may ask, and what it costs


def test_the_names_that_were_given_are_served(client: TestClient) -> None:
    for host, status in (("inbox.test", 200), ("INBOX.test:8025", 200), ("inbox", 403), ("other.test", 403)):
        assert client.get("/api/messages", headers={"Host": host}).status_code == status, host


def test_what_a_mail_opens_does_not_know_its_opener(client: TestClient) -> None:
    assert client.get("/").headers["cross-origin-opener-policy"] == "same-origin"


def test_large_pages_share_a_budget() -> None:
    budget = ResponseBudget(1 << 20)
    budget.html("x" * 1000)
    assert budget.held == 0
    budget.html("x" * 700_000)
    assert budget.held == 700_000
    with pytest.raises(Exception, match="try again"):
        budget.json({"text": "x" * 700_000})


def test_summaries_that_are_long_are_not_all_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "_REMEMBERED_LENGTH", 10_000)
    maildir = Maildir(tmp_path / "m")
    for _ in range(10):
        maildir.deliver(b"Subject: " + b"x" * 3000 + b"\n\n")
    inbox = inbox_module.Inbox(MailboxSet.of(maildir))
    inbox.refresh()
    assert all(inbox.summary(message) for message in inbox.everything.messages)
    assert (len(inbox._summaries), inbox._summaries.length <= 10_000) == (3, True)


def test_a_key_of_any_form_is_quoted_in_links(client: TestClient, maildir: Maildir) -> None:
    Path(maildir.path, "cur", '1.a"&b?c#d:2,').write_bytes(b"Subject: x\n\n")
    (path,) = re.findall(r'href="(/message/[^"]+)"', client.get("/").text)
    assert path == "/message/" + quote('1.a"&b?c#d', safe="")
