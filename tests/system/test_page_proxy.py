"""The page for a team behind a real nginx and HAProxy: below /mail, with a password, and with TLS inside."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from page_proxies import NAME, Site, haproxy, nginx
from smtp_support import Serve
from websockets.sync.client import connect

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import hash_password

pytestmark = [pytest.mark.mounts, pytest.mark.parametrize("proxy", [nginx, haproxy])]

FLAGS = ("--web", "127.0.0.1:0", "--web-root", "/mail", "--web-host", NAME)
Proxy = Callable[..., AbstractContextManager[Site]]


def address(serve: Serve) -> str:
    """Where the page itself listens."""
    return serve.told("Inbox").split("/")[2]


def test_below_a_path_all_links_lead_back_through_the_proxy(tmp_path: Path, proxy: Proxy) -> None:
    serve = Serve(tmp_path, *FLAGS)
    key = Maildir(tmp_path / "Maildir").deliver(b"Subject: through\n\ntext\n").key
    with proxy(tmp_path, address(serve)) as site:
        status, _, page = site.ask("GET", "/mail/")
        assert (status, "through" in page) == (200, True)
        links = re.findall(r'(?:href|src|action)="([^"]*)"', page)
        links = [link.replace("&amp;", "&") for link in links if not link.startswith("data:")]
        assert len(links) > 5
        assert [link for link in links if not link.startswith("/mail/")] == []
        posts = ("/delete", "/selected/")
        for link in links:
            if not any(post in link for post in posts):
                assert site.ask("GET", link)[0] == 200, link
        status, _, page = site.ask("GET", f"/mail/message/{key}")
        assert (status, "/mail/static/message.js" in page) == (200, True)
        assert site.ask("GET", "/elsewhere")[0] == 404
        origin = f"http://{site.name}"
        assert site.ask("POST", f"/mail/message/{key}/delete", Origin="http://evil.example")[0] == 403
        status, where, _ = site.ask("POST", f"/mail/message/{key}/delete", Origin=origin)
        assert (status, where[:12]) == (303, "/mail/?undo=")
        assert "No mail yet" in site.ask("GET", where)[2]
        token = where.partition("undo=")[2]
        assert site.ask("POST", f"/mail/undo/{token}", Origin=origin)[0] == 303
        assert "through" in site.ask("GET", "/mail/")[2]
        assert site.ask("GET", "/mail/", Host="rebound.example")[0] == 403
    assert serve.end()[0] == 0


def test_events_come_through_at_once(tmp_path: Path, proxy: Proxy) -> None:
    """nginx keeps what it passes on until it has enough, unless the answer says otherwise."""
    serve = Serve(tmp_path, *FLAGS)
    with proxy(tmp_path, address(serve)) as site:
        version = re.search(r'data-version="(\d+)"', site.ask("GET", "/mail/")[2])
        assert version
        client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=90)
        client.request("GET", f"/mail/events?version={version[1]}", headers={"Host": site.name})
        Maildir(tmp_path / "Maildir").deliver(b"Subject: live\n\n")
        lines = iter(client.getresponse().fp.readline, b"")
        assert any(line.startswith(b"data: ") for line in lines)  # while the connection stays open
        client.close()
    assert serve.end()[0] == 0


def test_a_websocket_comes_through(tmp_path: Path, proxy: Proxy) -> None:
    serve = Serve(tmp_path, *FLAGS)
    with proxy(tmp_path, address(serve)) as site:
        sock = socket.create_connection(("127.0.0.1", site.port), timeout=30)
        with connect(f"ws://{site.name}/mail/api/events", sock=sock, open_timeout=90, compression=None) as ws:
            Maildir(tmp_path / "Maildir").deliver(b"Subject: live\n\n")
            told = json.loads(ws.recv(timeout=90))
    assert (told["Type"], told["Data"]["Subject"]) == ("new", "live")
    assert serve.end()[0] == 0


def test_a_password_and_tls_behind_the_proxy(tmp_path: Path, proxy: Proxy) -> None:
    (tmp_path / "passwords").write_text(f"ann:{hash_password('secret')}\n")
    serve = Serve(tmp_path, *FLAGS, "--web-auth", "passwords", "--web-tls")
    with proxy(tmp_path, address(serve), serve.told("CA")) as site:
        assert site.ask("GET", "/mail/")[0] == 401
        right = base64.b64encode(b"ann:secret").decode()
        assert site.ask("GET", "/mail/", Authorization=f"Basic {right}")[0] == 200
        assert site.ask("GET", "/mail/api/messages", Authorization=f"Basic {right}")[0] == 200
        assert site.ask("GET", "/mail/livez")[0] == 200
    assert serve.end()[0] == 0
