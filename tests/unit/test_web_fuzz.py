"""Whatever bytes a message or its name is made of, the page shows it and the API answers."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings, strategies as st
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web.app import application

WORDS = [
    b"Subject: ", b"From: ", b"To: ", b"Received: ", b"Delivered-To: ", b"Return-Path: <", b"Content-Type: ",
    b"multipart/mixed; boundary=x", b'multipart/alternative; boundary="x"', b"text/html", b"message/rfc822",
    b"message/delivery-status", b"image/png", b"text/plain; charset=", b"utf-16", b"utf-7", b"idna",
    b"unicode_escape", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"x-uuencode",
    b"Content-Disposition: attachment; filename=", b"filename*=utf-8''%e2%82", b"filename*0*=",
    b"filename*1=",
    b'name="', b"Content-ID: <a>\n", b"<img src=cid:a>", b"=?utf-8?b?", b"=?utf-7?q?+2AA-?=", b"?=", b"=?",
    b"\n", b"\n\n", b"\r\n", b"\n--x\n", b"\n--x--\n", b"\n\t", b"\0", b"\xff", b"\xc3\xa9", b"\x1b[31m",
    b"\xe2\x80\xae", b"begin 644 a\n#0V%T\n\nend\n", b"AAAA====",
    b"=E9=", *(b"%c" % c for c in b'";,<>()\\@:'),
]  # fmt: skip
PIECES = [
    b"1700000000", b"99999999999999", b".", b".M5", b"P1Q2", b".host", b",S=", b",W=", b"7", b":2,",
    b";2,", b":1,", b"FS", b"Z", b"@sys", b"..", b"<script>", b'"', b"'", b"%", b"?x=", b"#", b"&amp;",
    b"\\", b"\n", b"\r", b"\x1b[2J", b"\xff", b"\xc3\xa9", b"\xe2\x80\xae", "\u0661".encode(), b" ",
    b"lost+found", b"{{7*7}}", b"x" * 100,
]  # fmt: skip


def name_of(chunks: list[bytes]) -> bytes:
    """As much of it as can be a message's file name."""
    name = b"".join(chunks).translate(None, b"/\0").lstrip(b".")[:250]
    while (shorter := re.sub(rb"%(?=[0-9A-Fa-f]{2})", b"", name)) != name:
        name = shorter  # TestClient decodes that twice, and uvicorn once
    return name


NAMES = (
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), min_size=1, max_size=12)
    .map(name_of)
    .filter(lambda name: name and name not in (b"lost+found", b"maildirfolder", b"maildirsize"))
)
MESSAGES = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=60).map(b"".join)


@pytest.fixture(scope="module")
def inbox() -> Iterator[tuple[Maildir, TestClient]]:
    with tempfile.TemporaryDirectory() as place:
        maildir = Maildir(Path(place, "m"))
        with TestClient(application(maildir), base_url="http://127.0.0.1") as client:
            yield maildir, client


@pytest.mark.fuzz
@settings(deadline=None)
@given(raw=MESSAGES)
def test_any_message_is_shown(inbox: tuple[Maildir, TestClient], raw: bytes) -> None:
    maildir, client = inbox
    key = maildir.deliver(raw).key
    views = [f"/message/{key}?view={view}" for view in ("html", "text", "headers", "source", "checks")]
    for path in ["/", "/?search=e", *views, f"/message/{key}/html"]:
        assert client.get(path).status_code == 200, path
    for part in client.get(f"/api/messages/{key}").json()["attachments"]:
        assert client.get(f"/api/messages/{key}/attachments/{part['number']}").status_code == 200
    assert client.get(f"/api/messages/{key}/raw").content == raw
    assert client.delete(f"/api/messages/{key}").status_code == 200


@pytest.mark.fuzz
@settings(deadline=None)
@given(name=NAMES, subdir=st.sampled_from(["new", "cur"]))
def test_any_file_name_is_shown(inbox: tuple[Maildir, TestClient], name: bytes, subdir: str) -> None:
    maildir, client = inbox
    path = os.path.join(os.fsencode(maildir.path), subdir.encode(), name)
    with open(path, "wb") as file:
        file.write(b"Subject: named\n\n")
    try:
        client.get("/api/messages")
        answer = client.get("/api/messages").json()
        (message,) = answer["messages"]
        assert message["subject"] == "named"
        key = quote(message["key"], safe="")
        assert "named" in client.get("/").text
        assert client.get(f"/api/messages/{key}").json()["subject"] == "named"
        assert client.get(f"/message/{key}").status_code == 200
        assert client.delete(f"/api/messages/{key}").json() == {"removed": 1}
        assert client.get("/api/messages").json()["total"] == 0
    finally:
        for place in ("new", "cur"):
            for left in Path(maildir.path, place).iterdir():
                left.unlink()
