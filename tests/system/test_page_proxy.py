"""The page for a team behind a real nginx: below /mail, with a password, and with TLS inside."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Serve, free_port, until

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import hash_password

pytestmark = pytest.mark.mounts

FLAGS = ("--web", "127.0.0.1:0", "--web-root", "/mail", "--web-host", "mail.example")


@contextlib.contextmanager
def nginx(tmp_path: Path, upstream: str, *lines: str) -> Iterator[Site]:
    """Debian's nginx as it comes, with the lines of docs/howto/test-server.md."""
    port = free_port()
    own = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi"))
    own += "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("uwsgi", "scgi"))
    location = f"proxy_pass {upstream}; proxy_set_header Host $http_host; {' '.join(lines)}"
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"user root; daemon off; worker_processes 1; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        f"events {{}} http {{ access_log off; {own}"
        f"server {{ listen 127.0.0.1:{port}; location /mail/ {{ {location} }} }} }}"
    )
    process = subprocess.Popen(["nginx", "-c", config, "-e", tmp_path / "error.log"])
    try:
        until(lambda: listens(port))
        yield Site(port)
    finally:
        process.terminate()
        process.wait(30)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


class Site:
    """The site as a browser sees it, under its name."""

    def __init__(self, port: int) -> None:
        self.port, self.name = port, f"mail.example:{port}"

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str, str]:
        """The status, where it leads to, and the content."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request(method, path, headers={"Host": self.name, **headers})
        answer = client.getresponse()
        content = answer.read().decode()
        client.close()
        return answer.status, answer.headers.get("Location", ""), content


def test_below_a_path_all_links_lead_back_through_the_proxy(tmp_path: Path) -> None:
    serve = Serve(tmp_path, *FLAGS)
    key = Maildir(tmp_path / "Maildir").deliver(b"Subject: through\n\ntext\n").key
    with nginx(tmp_path, f"http://{serve.told('Inbox').split('/')[2]}") as site:
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


def test_events_come_through_at_once(tmp_path: Path) -> None:
    """nginx keeps what it passes on until it has enough, unless the answer says otherwise."""
    serve = Serve(tmp_path, *FLAGS)
    with nginx(tmp_path, f"http://{serve.told('Inbox').split('/')[2]}") as site:
        version = re.search(r'data-version="(\d+)"', site.ask("GET", "/mail/")[2])
        assert version
        client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=90)
        client.request("GET", f"/mail/events?version={version[1]}", headers={"Host": site.name})
        Maildir(tmp_path / "Maildir").deliver(b"Subject: live\n\n")
        lines = iter(client.getresponse().fp.readline, b"")
        assert any(line.startswith(b"data: ") for line in lines)  # while the connection stays open
        client.close()
    assert serve.end()[0] == 0


def test_a_password_and_tls_behind_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text(f"ann:{hash_password('secret')}\n")
    serve = Serve(tmp_path, *FLAGS, "--web-auth", "passwords", "--web-tls")
    ca = serve.told("CA")
    verified = (f"proxy_ssl_trusted_certificate {ca};", "proxy_ssl_verify on;", "proxy_ssl_name localhost;")
    with nginx(tmp_path, f"https://{serve.told('Inbox').split('/')[2]}", *verified) as site:
        assert site.ask("GET", "/mail/")[0] == 401
        right = base64.b64encode(b"ann:secret").decode()
        assert site.ask("GET", "/mail/", Authorization=f"Basic {right}")[0] == 200
        assert site.ask("GET", "/mail/api/messages", Authorization=f"Basic {right}")[0] == 200
        assert site.ask("GET", "/mail/livez")[0] == 200
    assert serve.end()[0] == 0
