"""The hints about a message: what each finds, on the page and by the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._mail.checks import CLIPPED, checks
from maildir_safe._mail.message import read_mail
from maildir_safe._web.app import application

HEADERS = b"From: a@b\nTo: c@d\nSubject: x\nDate: Mon, 30 Nov 2026 12:00:00 +0000\nMessage-ID: <1@b>\n"
HTML = HEADERS + b"Content-Type: text/html\n"
PARTS = b"--b\n\nx\n--b\nContent-Type: text/html\n\n<p>\n--b--\n"
BOTH = b"Content-Type: multipart/alternative; boundary=b\n\n" + PARTS
UNSUBSCRIBE = HEADERS + b"List-Unsubscribe: <https://x.example/>\n"
ONE_CLICK = UNSUBSCRIBE + b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\n"


def found(raw: bytes) -> dict[str, bool]:
    return {check.id: check.good for check in checks(read_mail(raw), len(raw))}


@pytest.mark.parametrize(
    ("raw", "bad"),
    [
        (HEADERS + b"\ntext", set()),
        (HEADERS + BOTH, set()),
        (b"Subject: x\n\ntext", {"headers"}),
        (HEADERS + b"Subject: y\n\ntext", {"headers"}),
        (HTML + b"\n<p>x", {"text"}),
        (HTML + b"\n<img src=a alt=''><IMG src=b>", {"text", "alt"}),
        (HTML + b"\n" + b"<p>x" * (CLIPPED // 4 + 1), {"text", "html-size"}),
        (HTML + b"\n<a href='http://x.example/'>x</a>", {"text", "links"}),
        (UNSUBSCRIBE + b"\nx", {"unsubscribe"}),
        (ONE_CLICK + b"\nx", set()),
        (b"", {"headers"}),
    ],
)
def test_what_each_finds(raw: bytes, bad: set[str]) -> None:
    assert {name for name, good in found(raw).items() if not good} == bad


def test_the_page_and_the_api_show_them(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    key = maildir.deliver(HTML + b"\n<a href='https://x.example/?a&lt;b'>x</a>").key
    with TestClient(application(maildir)) as client:
        answer = client.get(f"/api/messages/{key}/checks").json()["checks"]
        assert [check["id"] for check in answer if not check["good"]] == ["text"]
        page = client.get(f"/message/{key}?view=checks").text
        assert "no text part beside the HTML" in page
        assert 'href="https://x.example/?a&lt;b" target="_blank" rel="noopener noreferrer"' in page
        assert client.get(f"/api/messages/{key}/checks?x=1").status_code == 400
