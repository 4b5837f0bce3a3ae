"""Release of a message to real recipients: into a server of aiosmtpd, and never to who is not allowed."""

from __future__ import annotations

import email
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from smtp_support import Serve, free_port, serving

from maildir_safe import Maildir
from maildir_safe._smtp.server.settings import Settings
from maildir_safe._web import mailpit_release

MESSAGE = (
    b"From: Ada <ada@example.com>\nTo: bob@example.org\nBcc: secret@example.org\n"
    b"Subject: =?utf-8?q?caf=C3=A9?=\nDate: Tue, 03 Feb 2026 10:00:00 +0100\nMessage-ID: <old@x>\n"
    b"X-Folded: one\n two\n\n.dot\nfrom caf\xc3\xa9\n"
)


class Sink:
    """A server that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[str], bytes]] = []
        self.replies: dict[str, str] = {}

    async def handle_RCPT(self, _s: Any, _n: Any, envelope: Any, address: str, _o: Any) -> str:
        reply = self.replies.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.got.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def sink() -> Iterator[tuple[Sink, str]]:
    port = free_port()
    sink = Sink()
    controller = Controller(sink, hostname="127.0.0.1", port=port, ready_timeout=60)
    controller.start()
    yield sink, f"smtp://127.0.0.1:{port}"
    controller.stop()


def server(tmp_path: Path, relay: str, *allowed: str) -> Any:
    return serving(tmp_path, web="127.0.0.1:0", relay=relay, relay_to=[*allowed])


def release(address: str, key: str, *to: str, **fields: Any) -> tuple[int, str]:
    url = f"http://{address}/api/v1/message/{key}/release"
    answer = httpx.post(url, json={"To": [*to], **fields}, timeout=60)
    return answer.status_code, answer.text


def test_a_message_is_released(tmp_path: Path, sink: tuple[Sink, str]) -> None:
    key = Maildir(tmp_path / "M").deliver(MESSAGE, sender="env@x", recipient="bob@example.org").key
    with server(tmp_path, sink[1], "*@example.com") as running:
        address = running.service.web_address
        to = ("Eve <eve@EXAMPLE.com>", "mallory@example.com", "eve@EXAMPLE.com")
        assert release(address, key, *to) == (200, "ok")
        assert release(address, "latest", "eve@example.com") == (200, "ok")
    (sender, recipients, content), _ = sink[0].got
    assert (sender, recipients) == ("ada@example.com", ["eve@EXAMPLE.com", "mallory@example.com"])
    head, body = content.split(b"\r\n\r\n", 1)
    got = email.message_from_bytes(head)
    assert body == b".dot\r\nfrom caf\xc3\xa9\r\n"
    assert (got["To"], got["Subject"]) == ("bob@example.org", "=?utf-8?q?caf=C3=A9?=")
    assert b"X-Folded: one\r\n two\r\n" in content
    assert got["Message-ID"] not in (None, "<old@x>")
    assert got["Message-ID"].endswith("@mx.example>")
    assert "2026 10:00:00" not in got["Date"]
    for name in ("Bcc", "Return-Path", "Delivered-To", "X-Original-To"):
        assert got[name] is None, name
    assert [len(got.get_all(name)) for name in ("Date", "Message-ID")] == [1, 1]


def test_nobody_else_gets_it(tmp_path: Path, sink: tuple[Sink, str]) -> None:
    key = Maildir(tmp_path / "M").deliver(MESSAGE).key
    with server(tmp_path, sink[1], "*@example.com", "one@example.net") as running:
        address = running.service.web_address
        for wrong in (
            "eve@example.org", "eve@example.com.evil.org", "eve@sub.example.com", "two@example.net",
            "eve@evil.org <x@evil.org>", '"a@example.com"@evil.org', "<eve@evil.org>",
        ):  # fmt: skip
            code, text = release(address, key, "good@example.com", wrong)
            assert (code, "match the allowlist" in text) == (400, True), (wrong, text)
        for wrong in (
            "", "eve", "eve@example.com\r\nRCPT TO:<x@evil.org>", "eve@example.com, x@example.com",
            "eve@", "a b@example.com",
        ):  # fmt: skip
            code, text = release(address, key, wrong)
            assert (code, text.startswith("Invalid email address")) == (400, True), (wrong, text)
        assert release(address, key) == (400, "No valid addresses found")
        assert release(address, key, *["eve@example.com"] * 101)[0] == 400
        assert release(address, key, "eve@example.com", Cc=[])[0] == 400
        assert release(address, "none", "eve@example.com")[0] == 404
        foreign = {"Origin": "https://evil.example"}
        url = f"http://{address}/api/v1/message/{key}/release"
        assert httpx.post(url, json={"To": ["eve@example.com"]}, headers=foreign).status_code == 403
    assert sink[0].got == []


def test_what_the_server_refuses_is_told(tmp_path: Path, sink: tuple[Sink, str]) -> None:
    key = Maildir(tmp_path / "M").deliver(MESSAGE).key
    sink[0].replies = {"bad@example.com": "550 5.1.1 Unknown", "later@example.com": "451 4.2.0 Later"}
    with server(tmp_path, sink[1], "*@example.com") as running:
        address = running.service.web_address
        code, text = release(address, key, "bad@example.com", "good@example.com")
        assert code == 400
        assert text == "SMTP error: bad@example.com: 550 5.1.1 Unknown; released to good@example.com"
        assert release(address, key, "later@example.com") == (
            503, "SMTP error: later@example.com: 451 4.2.0 Later",
        )  # fmt: skip
    assert [recipients for _, recipients, _ in sink[0].got] == [["good@example.com"]]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    key = Maildir(tmp_path / "M").deliver(MESSAGE).key
    with server(tmp_path, f"smtp://127.0.0.1:{free_port()}", "*@example.com") as running:
        code, text = release(running.service.web_address, key, "eve@example.com")
    assert (code, "cannot be reached" in text) == (503, True)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"Subject: x\n\nhi\n", "No From header found"),
        (b"From: a b\n\nhi\n", "No From header found"),
        (b"From: a@x\n" + b"X: y\n" * 6000 + b"\nhi\n", "too many header fields"),
    ],
)
def test_what_cannot_be_sent(tmp_path: Path, sink: tuple[Sink, str], message: bytes, words: str) -> None:
    key = Maildir(tmp_path / "M").deliver(message).key
    with server(tmp_path, sink[1], "*@example.com") as running:
        code, text = release(running.service.web_address, key, "eve@example.com")
    assert (code, words in text) == (400, True), text
    assert sink[0].got == []


def test_a_message_that_is_too_long_is_not_cut(
    tmp_path: Path, sink: tuple[Sink, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailpit_release, "MOST_READ", 100)
    key = Maildir(tmp_path / "M").deliver(MESSAGE).key
    with server(tmp_path, sink[1], "*@example.com") as running:
        assert release(running.service.web_address, key, "eve@example.com")[0] == 413
    assert sink[0].got == []


def test_the_sender_field_counts_before_from() -> None:
    sender, _ = mailpit_release.rewritten(b"Sender: s@x\n" + MESSAGE, "mx.example")
    assert sender == "s@x"


def test_without_a_relay_it_is_refused(tmp_path: Path) -> None:
    key = Maildir(tmp_path / "M").deliver(MESSAGE).key
    with serving(tmp_path, web="127.0.0.1:0") as running:
        code, text = release(running.service.web_address, key, "eve@example.com")
    assert (code, text) == (400, "Release is not enabled: start the server with --relay and --relay-to")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"relay": "smtp://x"}, "relay needs relay_to"), ({"relay_to": ["*@x"]}, "relay_to needs relay"),
        ({"relay": "smtp://x", "relay_to": ["*"]}, "patterns of addresses"),
        ({"relay": "smtp://x", "relay_to": ["*@x"], "web": ""}, "for a test server"),
        ({"relay": "smtp://x", "relay_to": ["*@x"], "queue": "q", "web": ""}, "for a test server"),
        ({"relay": "smtp://x", "relay_to": ["*@x"], "map": "/{local}", "web_auth": "f"}, "for a test server"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**{"web": "127.0.0.1:0", **settings}).check()


def test_by_the_command(tmp_path: Path, sink: tuple[Sink, str]) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--relay", sink[1], "--relay-to", "*@example.com")
    with serve.client() as client:
        client.sendmail("a@example.com", "b@example.org", MESSAGE.replace(b"\xc3\xa9", b"e"))
    address = serve.told("Inbox").split("/")[2]
    assert release(address, "latest", "eve@example.com") == (200, "ok")
    assert serve.end()[0] == 0
    assert sink[0].got[0][1] == ["eve@example.com"]
