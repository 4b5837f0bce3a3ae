"""Whatever a client says, in whatever order: every answer is a reply, and what is stored is well-formed."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from smtp_support import Wire, serving

from maildir_safe._health.trial import MARK
from maildir_safe._smtp.server.background import BackgroundServer

WORDS = [
    b"EHLO ", b"LHLO ", b"HELO ", b"MAIL FROM:", b"RCPT TO:", b"DATA", b"RSET", b"NOOP", b"QUIT",
    b"VRFY ", b"HELP", b"AUTH PLAIN ", b"AUTH LOGIN", b"AUTH CRAM-MD5", b"STARTTLS", b"BDAT 5 LAST",
    b"EXPN x", b"AGFzAGI=", b"=", b"*", b"<a@b>", b"<>", b"a@b", b"<", b">", b"<@r,@s:a@b>",
    b'<"a b"@c>', b'<"\\">@b>', b"<a@[IPv6:::1]>", b"<a+t@b>", b"<../../etc/passwd@..>",
    b"<\xc3\xa9@\xc3\xa9.example>", b"<\xe2\x80\xae@b>", b"<a\x1b[31m@b>", b"<" + b"a" * 400, b" SIZE=",
    b"99999999999", b" BODY=8BITMIME", b" SMTPUTF8", b" RET=HDRS", b" ENVID=", b"+2B", b"+0A", b"+FF",
    b" NOTIFY=NEVER", b" ORCPT=rfc822;", b" AUTH=<>", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b".",
    b"\r\n.\r\n", b"\r\n..", b"\n.\n", b"\r\n.\n", b"\0", b"\xff", b" ", b"\t", b"Subject: x\r\n\r\n",
    b"Received: y\r\n", b"x" * 3000, b"DATA\r\nSubject: z\r\n\r\n.\r\n",
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
]  # fmt: skip
SESSIONS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=40).map(b"".join)
OURS = re.compile(
    rb"Return-Path: <[^\n]*>\n(?:(?:Delivered-To|X-Original-To): [^\n]+\n)+"
    rb"Received: from [^\n]+\n\tby mx\.example with [A-Z0-9]+(?:\n\tfor <[^\n]+>)?; [^\n]+ \+0000\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundServer]:
    place = tmp_path_factory.mktemp("fuzz")
    with serving(place, lmtp=["127.0.0.1:0"], smtp=["127.0.0.1:0"], tls="made", max_size=5000) as server:
        server.place = place  # type: ignore[attr-defined]
        yield server


@pytest.mark.fuzz
@settings(deadline=None)  # a busy machine is no failure
@given(text=SESSIONS, lmtp=st.booleans(), greeted=st.booleans())
def test_any_session_is_answered(server: BackgroundServer, text: bytes, lmtp: bool, greeted: bool) -> None:
    service = server.service
    address = (service.lmtp_addresses if lmtp else service.smtp_addresses)[0]
    wire = Wire(address)
    with contextlib.suppress(OSError):  # too many unknown commands, or a handshake that is none, end it
        wire.send((b"LHLO x\r\n" if lmtp else b"EHLO x\r\n") * greeted + text)
        wire.sock.shutdown(socket.SHUT_WR)
        while reply := wire.reply():
            assert re.match(r"[2345]\d\d[ -]", reply), reply
            assert "Internal" not in reply
    wire.close()
    other = Wire(address)
    assert other.ask("NOOP") == "250 2.0.0 OK"
    other.close()
    _check_log(server)
    _check_stored(server.place / "M")  # type: ignore[attr-defined]


def _check_log(server: BackgroundServer) -> None:
    log = server.text  # type: ignore[attr-defined]
    for line in log.getvalue().splitlines():
        assert line.isascii(), line
        assert line.isprintable(), line
        assert " error " not in line
    log.seek(0)
    log.truncate()


def _check_stored(maildir: Path) -> None:
    """Our headers are on top, each line of them ours, and nothing is left in tmp/; then it is removed."""
    assert [path for path in (maildir / "tmp").iterdir() if path.suffix != f".{MARK}"] == []
    for file in (maildir / "new").iterdir():
        raw = file.read_bytes()
        ours = OURS.match(raw)
        assert ours, raw[:1000]
        assert ours[0].decode().replace("\n", "").replace("\t", "").isprintable()
        file.unlink()
