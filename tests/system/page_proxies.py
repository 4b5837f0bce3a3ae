"""Debian's proxies before the page, each with the lines of docs/howto/test-server.md."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from smtp_support import free_port, until

NAME = "mail.example"
_NGINX = (
    "proxy_set_header Host $http_host; proxy_http_version 1.1;"
    " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
)
_HAPROXY = """\
global
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
frontend site
    bind 127.0.0.1:{port}
    use_backend mail if {{ path_beg /mail/ }}
    http-request return status 404 unless {{ path_beg /mail/ }}
backend mail
    server page {address}{tls}
"""


class Site:
    """The site as a browser sees it, under its name."""

    def __init__(self, port: int) -> None:
        self.port, self.name = port, f"{NAME}:{port}"

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str, str]:
        """The status, where it leads to, and the content."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request(method, path, headers={"Host": self.name, **headers})
        answer = client.getresponse()
        content = answer.read().decode()
        client.close()
        return answer.status, answer.headers.get("Location", ""), content


@contextlib.contextmanager
def nginx(tmp_path: Path, address: str, ca: str = "") -> Iterator[Site]:
    """nginx; with a CA it speaks TLS to the page, and checks its certificate."""
    port = free_port()
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in names)
    own += "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
    tls = f"proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost;" if ca else ""
    location = f"proxy_pass {'https' if ca else 'http'}://{address}; {_NGINX} {tls}"
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"user root; daemon off; worker_processes 1; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        f"events {{}} http {{ access_log off; {own}"
        f"server {{ listen 127.0.0.1:{port}; location /mail/ {{ {location} }} }} }}"
    )
    with _running(port, "nginx", "-c", str(config), "-e", str(tmp_path / "error.log")) as site:
        yield site


@contextlib.contextmanager
def haproxy(tmp_path: Path, address: str, ca: str = "") -> Iterator[Site]:
    """HAProxy; with a CA it speaks TLS to the page, and checks its certificate."""
    port = free_port()
    tls = f" ssl verify required ca-file {ca} verifyhost localhost sni str(localhost)" if ca else ""
    config = tmp_path / "page.cfg"
    config.write_text(_HAPROXY.format(port=port, address=address, tls=tls))
    with _running(port, "haproxy", "-db", "-f", str(config)) as site:
        yield site


@contextlib.contextmanager
def _running(port: int, *command: str) -> Iterator[Site]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port))
        yield Site(port)
    finally:
        process.terminate()
        process.wait(30)


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
