"""What the last SMTP connections said: on the page and by the API; bounded, and without secrets."""

from __future__ import annotations

import base64
import http.client
import json
import smtplib
from pathlib import Path
from typing import Any

import pytest
from smtp_support import Serve
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._smtp.server.transcripts import MOST_SESSIONS, Transcript, Transcripts
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard

FAULTS = """
[[fault]]
stage = "rcpt"
match = "*@slow.example"
reply = "451 4.7.1 Greylisted"

[[fault]]
stage = "received"
match = "drop@example.com"
drop = true
"""


def get(serve: Serve, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(serve.told("Inbox").removeprefix("http://").rstrip("/"))
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def sessions(serve: Serve) -> list[dict[str, Any]]:
    status, text = get(serve, "/api/sessions")
    assert status == 200
    found: list[dict[str, Any]] = json.loads(text)["sessions"]
    return found


def said(session: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["who"], line["text"]) for line in session["lines"]]


def test_a_tester_sees_why_a_recipient_was_refused_and_a_connection_ended(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(FAULTS)
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--faults", str(script))
    try:
        with serve.client() as client:
            client.login("ann", "s3cret-password")
            client.sendmail(
                "me@example.com", ["a@example.com", "b@slow.example"], "Subject: x\n\nprivate text"
            )
        with pytest.raises(smtplib.SMTPServerDisconnected), serve.client() as client:
            client.sendmail("me@example.com", ["drop@example.com"], "Subject: x\n\n")
        dropped, refused = sessions(serve)
        lines = said(refused)
        assert ("server", "451 4.7.1 Greylisted") in lines
        assert ("note", "a fault at rcpt: answer 451 4.7.1 Greylisted") in lines
        assert any(who == "client" and text.lower().startswith("rcpt to:<b@slow") for who, text in lines)
        assert lines[0][1].startswith("220 ")
        assert (refused["refusals"], refused["protocol"], refused["peer"]) == (1, "SMTP", "127.0.0.1")
        why = "<code>rcpt TO:&lt;b@slow.example&gt;: 451 4.7.1 Greylisted</code>"
        assert why in get(serve, "/sessions")[1]
        assert said(dropped)[-1] == ("note", "a fault at received: hang up")
        assert dropped["open"] is False
        status, page = get(serve, "/sessions")
        assert status == 200
        assert "451 4.7.1 Greylisted" in page
        for text in (page, json.dumps([dropped, refused])):
            assert "private text" not in text
            assert "s3cret" not in text
            assert base64.b64encode(b"\0ann\0s3cret-password").decode() not in text
    finally:
        serve.end()


def test_only_so_much_is_remembered_and_nothing_that_could_be_markup_or_a_secret() -> None:
    one = Transcript(1, "192.0.2.1", "SMTP")
    for number in range(1000):
        one.client(f"NOOP {number} " + "x" * 1000)
    assert len(one.lines) + one.left_out == 1000
    assert one.left_out == 880
    assert max(len(line.text) for line in one.lines) == 300
    assert [one.lines[0].text[:6], one.lines[-1].text[:8]] == ["NOOP 0", "NOOP 999"]
    one = Transcript(1, "", "LMTP")
    one.client("auth  PLAIN AGFubgBzM2NyZXQ=")
    one.client("\x1b[31m\udcff")
    assert [line.text for line in one.lines] == ["auth PLAIN ***", "\\x1b[31m\\udcff"]
    every = Transcripts()
    for _ in range(MOST_SESSIONS + 10):
        every.begin("", "SMTP")
    assert len(every.newest) == MOST_SESSIONS
    assert every.newest[0].number == MOST_SESSIONS + 10


def test_the_page_escapes_what_clients_say_and_helps_when_there_is_nothing(tmp_path: Path) -> None:
    transcripts = Transcripts()
    app = application(Maildir(tmp_path / "m"), transcripts=transcripts)
    with TestClient(Guard(app), base_url="http://127.0.0.1") as client:
        assert "No client has connected yet" in client.get("/sessions").text
        assert 'href="/sessions"' in client.get("/").text
        transcripts.begin("", "SMTP").client("EHLO <script>alert(1)</script>")
        assert "<script>alert" not in client.get("/sessions").text
        assert len(client.get("/api/sessions?limit=1").json()["sessions"]) == 1
        assert client.get("/api/sessions?limit=x").status_code == 400
    with TestClient(Guard(application(Maildir(tmp_path / "m"))), base_url="http://127.0.0.1") as client:
        assert client.get("/sessions").status_code == client.get("/api/sessions").status_code == 404
        assert 'href="/sessions"' not in client.get("/").text
