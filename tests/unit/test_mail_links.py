"""Links and codes of a message, and the requests that give them."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._mail.links import MOST, codes, links
from maildir_safe._mail.message import read_mail
from maildir_safe._web.app import application

HTML = b"""Subject: Your code is 481 206
Content-Type: text/html

<a href="https://shop.example/confirm?a=1&amp;b=2">here</a> <A HREF='HTTP://shop.example/two'>two</a>
<a href=https://shop.example/three>three</a> <a href="javascript:alert(1)">x</a> <a href="/local">y</a>
<a href="https://shop.example/confirm?a=1&amp;b=2">again</a> or https://shop.example/four.
"""
TEXT = b"""Subject: x

Open https://shop.example/a_(b) (or <https://shop.example/c?d=e>), and enter 123-456, not 1234567,
1.123456, 123,456.5, id=654321 or 2026-123456. Or 777888!
"""


def test_links_of_html_are_those_that_a_browser_opens() -> None:
    assert links(read_mail(HTML)) == [
        "https://shop.example/confirm?a=1&b=2",
        "HTTP://shop.example/two",
        "https://shop.example/three",
        "https://shop.example/four",
    ]


def test_links_of_text_end_where_the_sentence_goes_on() -> None:
    assert links(read_mail(TEXT)) == ["https://shop.example/a_(b)", "https://shop.example/c?d=e"]


def test_codes_stand_alone() -> None:
    assert codes(read_mail(HTML)) == ["481206"]
    assert codes(read_mail(TEXT)) == ["123456", "777888"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "piece", [b"href='", b'href="', b"href=", b"https://", b"https://x ", b"123 ", b"12345", b"&#1;", b"<a "]
)
def test_no_text_takes_long(piece: bytes) -> None:
    """At a regular expression that is quadratic these took minutes."""
    mail = read_mail(b"Content-Type: text/html\n\n" + piece * (2_000_000 // len(piece)))
    assert len(links(mail)) <= MOST
    assert len(codes(mail)) <= MOST


def test_both_requests_give_them(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    key = maildir.deliver(HTML).key
    with TestClient(application(maildir)) as client:
        for path in (f"/api/messages/{key}/links", f"/api/v1/message/{key}/links"):
            answer = client.get(path).json()
            assert (answer["code"], answer["codes"], len(answer["links"])) == ("481206", ["481206"], 4), path
        assert client.get("/api/v1/message/latest/links?query=subject:code").json()["code"] == "481206"
        assert client.get("/api/messages/none/links").status_code == 404
        assert client.get(f"/api/messages/{key}/links?x=1").status_code == 400
        maildir.deliver(b"Subject: x\n\nno code")
        nothing = client.get("/api/v1/message/latest/links").json()
        assert nothing == {"links": [], "codes": [], "code": None}
