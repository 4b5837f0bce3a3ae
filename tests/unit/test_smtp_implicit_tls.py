"""SMTP in TLS from the first byte (RFC 8314)."""

from __future__ import annotations

import smtplib
import socket
import ssl
from pathlib import Path

import pytest
from smtp_support import Serve, serving, stored

from maildir_safe._smtp.server.settings import Settings

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_smtplib_sends_over_tls(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--smtps", "127.0.0.1:0", "--tls")
    tls = ssl.create_default_context(cafile=serve.told("CA"))
    for _ in range(3):
        with smtplib.SMTP_SSL("localhost", port_of(serve.told("SMTPS")), timeout=20, context=tls) as client:
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.docmd("STARTTLS")[0] == 503
            client.login("any", "password")
            client.sendmail("a@b", ["c@d"], MESSAGE)
    with serve.client() as client:  # the other address is as before
        client.sendmail("a@b", ["c@d"], MESSAGE)
    messages = stored(tmp_path / "Maildir")
    assert [b" with ESMTPSA" in raw for raw in messages].count(True) == 3
    assert serve.end()[0] == 0


def test_clear_text_is_not_answered_with_smtp(tmp_path: Path) -> None:
    with serving(tmp_path, smtps=["127.0.0.1:0"], tls="made") as server:
        port = port_of(server.service.smtps_addresses[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\n")
            try:
                assert b"250" not in sock.recv(1000)
            except ConnectionError:
                pass


def test_a_handshake_that_stalls_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path, smtps=["127.0.0.1:0"], tls="made", timeout=0.3) as server:
        port = port_of(server.service.smtps_addresses[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            assert sock.recv(100) == b""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "smtps needs tls"),
        ({"tls": "made", "proxy_from": ["192.0.2.1"]}, "let the proxy do TLS"),
    ],
)
def test_what_does_not_go_with_it_is_said(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(smtps=["127.0.0.1:0"], **settings).check()  # type: ignore[arg-type]
