"""Several mailboxes on one page: each by itself, their folders, and all together."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest
from smtp_support import COMMAND, Serve, until
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._mailbox_tree import MailboxTree
from maildir_safe._mailboxes import open_as_owner
from maildir_safe._smtp.backends import split_mailboxes
from maildir_safe._smtp.backends.routing import SplitMap
from maildir_safe._smtp.backends.split_mailboxes import SplitMailboxes
from maildir_safe._smtp.protocol.replies import Refused
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe.errors import NotAMaildir

TEMPLATE = "{domain}/{local}"
ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mail"
    root.mkdir()
    return root


@pytest.fixture
def boxes(root: Path) -> SplitMailboxes:
    return SplitMailboxes(SplitMap(str(root), TEMPLATE), kept_open=4, most=5)


@pytest.fixture
def client(root: Path, boxes: SplitMailboxes) -> Iterator[TestClient]:
    shown = MailboxSet(MailboxTree(str(root), TEMPLATE), mailboxes=boxes)
    with TestClient(Guard(application(shown)), base_url="http://127.0.0.1") as client:
        yield client


def put(boxes: SplitMailboxes, to: str, subject: str, folder: str | None = None) -> str:
    message = EmailMessage()
    message["To"], message["Subject"] = to, subject
    return boxes.maildir_for(to).deliver(message, recipient=to, folder=folder).key


def subjects(client: TestClient, **query: str) -> list[str]:
    return [entry["subject"] for entry in client.get("/api/messages", params=query).json()["messages"]]


def test_each_mailbox_its_folders_and_all(client: TestClient, boxes: SplitMailboxes) -> None:
    put(boxes, ADA, "to ada")
    put(boxes, BOB, "to bob")
    put(boxes, ADA, "an old one", folder="Archive.2026")
    assert subjects(client) == ["an old one", "to bob", "to ada"]
    assert subjects(client, mailbox=ADA) == ["to ada"]
    assert subjects(client, mailbox="Ada@Example.com") == ["to ada"]
    assert subjects(client, mailbox=f"{ADA}/Archive.2026") == ["an old one"]
    listed = client.get("/api/mailboxes").json()
    assert [(one["name"], one["total"], one["unread"]) for one in listed["mailboxes"]] == [
        (ADA, 1, 1),
        (f"{ADA}/Archive.2026", 1, 1),
        (BOB, 1, 1),
    ]
    assert (listed["total"], listed["complete"]) == (3, True)
    assert client.get("/api/messages", params={"mailbox": "nobody@example.com"}).status_code == 404


def test_search_and_delete_stay_in_their_mailbox(client: TestClient, boxes: SplitMailboxes) -> None:
    for to in (ADA, BOB):
        put(boxes, to, "a code")
        put(boxes, to, "other")
    assert subjects(client, mailbox=BOB, search="code") == ["a code"]
    assert client.delete("/api/messages", params={"mailbox": BOB, "search": "code"}).json() == {"removed": 1}
    assert sorted(subjects(client)) == ["a code", "other", "other"]
    page = client.post("/delete", params={"mailbox": BOB}, follow_redirects=False)
    assert page.headers["location"] == f"/?mailbox={quote(BOB, safe='')}"
    assert (subjects(client, mailbox=BOB), len(subjects(client, mailbox=ADA))) == ([], 2)


def test_links_lead_on_in_the_same_mailbox(client: TestClient, boxes: SplitMailboxes) -> None:
    for number in range(3):
        put(boxes, ADA, f"n{number}")
        put(boxes, BOB, f"other {number}")
    middle = client.get("/api/messages", params={"mailbox": ADA}).json()["messages"][1]["key"]
    here = f"mailbox={quote(ADA, safe='')}"
    page = client.get(f"/message/{quote(middle)}?{here}").text
    ids = [entry["key"] for entry in client.get("/api/messages", params={"mailbox": ADA}).json()["messages"]]
    for link, key in (("newer", ids[0]), ("older", ids[2])):
        assert f'<a id="{link}" href="/message/{quote(key)}?{here}"' in page
    assert f'<a href="/?{here}" id="back"' in page
    toggled = client.post(f"/message/{quote(middle)}/toggle/S?{here}", follow_redirects=False)
    assert toggled.headers["location"] == f"/?{here}"


def test_copies_of_one_file_are_two_messages(client: TestClient, root: Path, boxes: SplitMailboxes) -> None:
    key = put(boxes, ADA, "copied")
    put(boxes, BOB, "first")
    shutil.copy(root / f"example.com/ada/new/{key}", root / "example.com/bob/new")
    (ada,) = client.get("/api/messages", params={"mailbox": ADA}).json()["messages"]
    assert client.delete(f"/api/messages/{ada['key']}").json() == {"removed": 1}
    assert client.delete(f"/api/messages/{ada['key']}").status_code == 404
    assert subjects(client, mailbox=BOB).count("copied") == 1


def test_mailboxes_come_and_go(client: TestClient, root: Path, boxes: SplitMailboxes) -> None:
    assert client.get("/").status_code == 200
    put(boxes, ADA, "one")
    assert subjects(client) == ["one"]
    put(boxes, "new@other.example", "two")
    assert subjects(client, mailbox="new@other.example") == ["two"]
    shutil.rmtree(root / "example.com")
    assert subjects(client) == ["two"]
    assert client.get("/", params={"mailbox": ADA}).status_code == 404
    put(boxes, ADA, "made again")
    assert subjects(client, mailbox=ADA) == ["made again"]


def test_a_mailbox_that_cannot_be_read_hides_no_other(
    client: TestClient, root: Path, boxes: SplitMailboxes
) -> None:
    put(boxes, ADA, "fine")
    put(boxes, BOB, "fine too")
    (root / "example.com/ada/new").rename(root / "example.com/ada/away")
    (root / "example.com/ada/new").write_text("no directory")
    assert "fine too" in subjects(client)
    ada = client.get("/api/mailboxes").json()["mailboxes"][0]
    assert (ada["name"], bool(ada["trouble"])) == (ADA, True)
    assert "cannot be read" in client.get("/").text


def test_one_maildir_shows_its_folders(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    maildir.deliver(b"Subject: in\n\n")
    maildir.deliver(b"Subject: out\n\n", folder="Sent & \u00fcber")
    with TestClient(Guard(application(maildir)), base_url="http://127.0.0.1") as client:
        names = [one["name"] for one in client.get("/api/mailboxes").json()["mailboxes"]]
        assert names == ["INBOX", "Sent & \u00fcber"]
        assert subjects(client, mailbox="Sent & \u00fcber") == ["out"]
        assert sorted(subjects(client)) == ["in", "out"]
        assert "Sent &amp; \u00fcber" in client.get("/").text


def test_mailpits_api_is_over_all(client: TestClient, boxes: SplitMailboxes) -> None:
    put(boxes, ADA, "one")
    sent = client.post(
        "/api/v1/send",
        json={
            "From": {"Email": "me@here.example"},
            "To": [{"Email": BOB}, {"Email": "New@Other.example"}],
            "Subject": "sent",
            "Tags": ["t"],
        },
    )
    key = sent.json()["ID"]
    found = client.get(f"/api/v1/message/{key}").json()
    assert (found["Subject"], found["Tags"]) == ("sent", ["t"])
    assert client.get("/api/v1/messages").json()["total"] == 3
    assert subjects(client, mailbox=BOB) == subjects(client, mailbox="new@other.example") == ["sent"]
    assert client.get("/api/v1/search", params={"query": f"to:{ADA}"}).json()["messages_count"] == 1
    refused = client.post("/api/v1/send", json={"From": {"Email": "me@here.example"}, "Subject": "none"})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("Ada+tag@EXAMPLE.com", "example.com/ada+tag"),
        ('"ada"@example.com', "example.com/ada"),
        ("ada@b\u00fccher.example", "xn--bcher-kva.example/ada"),
        ("ada@XN--bcher-kva.example", "xn--bcher-kva.example/ada"),
        ("postmaster", "localhost/postmaster"),
    ],
)
def test_an_address_names_one_directory(root: Path, address: str, path: str) -> None:
    assert SplitMap(str(root), TEMPLATE).candidates(address) == [f"{root}/{path}"]


@pytest.mark.parametrize(
    "address",
    [
        "../x@example.com", '"../../etc"@example.com', "x@..", "x@../..", "a/b@example.com", ".@example.com",
        ".hidden@example.com", "x@.example.com", "x\\y@example.com", '" "@example.com', "x@[127.0.0.1]",
        "\u00e9" * 64 + "\u4e2d" * 40 + "@example.com", "\u4e2d" * 64 + "@" + "\u4e2d" * 63,
    ],
)  # fmt: skip
def test_a_hostile_address_makes_nothing(root: Path, boxes: SplitMailboxes, address: str) -> None:
    try:
        made = boxes.maildir_for(address).path
    except (Refused, NotAMaildir):
        assert [*root.rglob("*")] == []
    else:
        assert Path(made).resolve().parents[1] == root.resolve()


@pytest.mark.parametrize(
    "template", ["", "{domain}", "/{local}", "{local}/../x", "{local}//x", ".{local}", "{x}", "{"]
)
def test_a_template_that_leads_elsewhere_is_refused(root: Path, template: str) -> None:
    with pytest.raises(ValueError, match="--split"):
        SplitMap(str(root), template)


def test_the_number_is_bounded_whoever_made_them(
    root: Path, boxes: SplitMailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_mailboxes, "FULL_FOR", 0.0)
    for number in range(3):
        put(boxes, f"n{number}@example.com", "x")
    other = SplitMailboxes(SplitMap(str(root), TEMPLATE), kept_open=4, most=5)
    for number in range(3, 5):
        put(other, f"n{number}@example.com", "x")
    with pytest.raises(Refused, match=r"^452 4\.2\.2"):
        other.find("n5@example.com")
    assert other.find("n0@example.com").endswith("/n0")
    shutil.rmtree(root / "example.com/n0")
    put(other, "n5@example.com", "there is room again")
    assert len([*(root / "example.com").iterdir()]) == 5


def test_who_asks_for_mailboxes_when_there_are_too_many_makes_no_work(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand Maildirs take a tenth of a second to count, and a client may send a hundred RCPT at once."""
    counted = []
    find = split_mailboxes.MailboxTree.find
    monkeypatch.setattr(split_mailboxes.MailboxTree, "find", lambda tree: counted.append(1) or find(tree))
    monkeypatch.setattr(split_mailboxes, "FULL_FOR", 3600.0)
    boxes = SplitMailboxes(SplitMap(str(root), TEMPLATE), kept_open=4, most=2)
    for number in range(2):
        put(boxes, f"n{number}@example.com", "x")
    for number in range(100):
        with pytest.raises(Refused, match=r"^452 4\.2\.2"):
            boxes.find(f"other{number}@example.com")
    assert len(counted) <= 2
    assert boxes.find("n0@example.com").endswith("/n0")


def test_the_tree_is_bounded(root: Path) -> None:
    for number in range(4):
        (root / "d").mkdir(exist_ok=True)
        Maildir(root / f"d/n{number}")
    tree = MailboxTree(str(root), TEMPLATE, most=3)
    assert ([place.name for place in tree.find()], tree.complete) == (["n0@d", "n1@d", "n2@d"], False)


def test_strangers_in_the_directory_are_no_mailboxes(root: Path) -> None:
    Maildir(root / "plain")  # one level too high
    for name in ("lost+found", ".hidden", "d/not-a-maildir", "d/.dot"):
        (root / name).mkdir(parents=True)
    (root / "d/file").write_text("")
    (root / "d/loop").symlink_to(root)
    Maildir(root / "d/ok")
    assert [place.name for place in MailboxTree(str(root), TEMPLATE).find()] == ["ok@d"]


def test_serve_splits(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--split", TEMPLATE)
    assert f"Maildirs {tmp_path}/Maildir/{TEMPLATE} (durability full" in serve.banner
    with serve.client() as client:
        client.sendmail("a@b", [ADA, BOB, "Bob@Example.com"], b"Subject: hello\r\n\r\nworld\r\n")
        assert client.docmd("MAIL FROM:<a@b>")[0] == 250
        assert client.docmd("RCPT TO:<only@rcpt.example>")[0] == 250
    assert sorted(path.name for path in (tmp_path / "Maildir/example.com").iterdir()) == ["ada", "bob"]
    assert not (tmp_path / "Maildir/rcpt.example").exists()
    assert serve.end()[0] == 0


def test_serve_keeps_the_newest_of_each(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--no-web", "--split", TEMPLATE, "--keep", "1")
    with serve.client() as client:
        for _ in range(2):
            client.sendmail("a@b", [ADA, BOB], b"Subject: hello\r\n\r\nworld\r\n")

    def counts() -> list[int]:
        places = [open_as_owner(str(tmp_path / f"Maildir/example.com/{name}")) for name in ("ada", "bob")]
        return [len([*maildir.messages()]) for maildir in places]

    until(lambda: counts() == [1, 1])
    assert serve.end()[0] == 0


def test_split_refuses_a_maildir(tmp_path: Path) -> None:
    Maildir(tmp_path / "Maildir")
    done = subprocess.run(
        [*COMMAND, "--split", TEMPLATE], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "is a Maildir itself" in done.stderr) == (1, True)
