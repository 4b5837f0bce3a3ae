"""The inbox page as `serve` runs it: its address, its end, and what it does not get in the way of."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import pytest
from smtp_support import COMMAND, Serve

from maildir_safe import Maildir

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


def get(serve: Serve, path: str) -> bytes:
    with urllib.request.urlopen(serve.told("Inbox") + path, timeout=20) as answer:
        content: bytes = answer.read()
        return content


def listening(serve: Serve) -> HTTPConnection:
    """A connection on which the page tells of changes."""
    connection = HTTPConnection(serve.told("Inbox").split("/")[2], timeout=20)
    connection.request("GET", "/events?version=0")
    return connection


def test_mail_in_and_page_out(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--workers", "2")
    assert [line.split()[0] for line in serve.banner.splitlines()] == ["SMTP", "Inbox", "Maildir", "Try"]
    assert serve.address.encode() in get(serve, "")
    with serve.client() as client:
        client.sendmail("a@b", ["c@d"], MESSAGE)
    (message,) = json.loads(get(serve, "api/messages"))["messages"]
    assert (message["subject"], message["envelope_to"]) == ("hello", ["c@d"])
    figures = get(serve, "metrics").decode()
    assert 'maildir_safe_deliveries_total{result="stored"} 1.0' in figures
    assert 'maildir_safe_deliveries_total{result="refused"} 0.0' in figures
    assert "maildir_safe_delivery_seconds_count 1.0" in figures
    assert "maildir_safe_messages 1.0" in figures
    assert serve.end()[0] == 0


def test_pages_that_listen_do_not_delay_the_end(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    open_pages = [listening(serve) for _ in range(3)]
    assert [page.getresponse().status for page in open_pages] == [200, 200, 200]
    code, log = serve.end()
    assert (code, log) == (0, "")


def test_pages_that_go_away_are_forgotten(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    descriptors = Path(f"/proc/{serve.process.pid}/fd")
    get(serve, "")
    before = len(list(descriptors.iterdir()))
    pages = [listening(serve) for _ in range(20)]
    for page in pages:
        page.getresponse().close()
        page.close()
    until = time.monotonic() + 60
    while len(list(descriptors.iterdir())) > before:
        assert time.monotonic() < until, "still open"
        time.sleep(0.1)
    assert serve.end() == (0, "")


@pytest.mark.parametrize("flags", [["--no-web"], ["--map", "/nowhere/{local}"]])
def test_no_page(tmp_path: Path, flags: list[str]) -> None:
    serve = Serve(tmp_path, *flags)
    assert "Inbox" not in serve.banner
    assert serve.end()[0] == 0


def test_the_config_file_says_where_the_page_is(tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text('smtp = ["127.0.0.1:0"]\nweb = "[::1]:0"\n')
    with subprocess.Popen(
        [*COMMAND, "--config", str(config)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("SMTP")
        assert process.stdout.readline().startswith("Inbox    http://[::1]:")
        process.terminate()


def test_what_keeps_the_page_from_being_served_is_said(tmp_path: Path) -> None:
    def fails(*flags: str, **env: str) -> str:
        command = [*COMMAND, "--smtp", "127.0.0.1:0", *flags]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=30, env=env or None
        )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        return done.stderr

    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    taken = serve.told("Inbox").split("/")[2]
    assert f"{taken}: another program listens there" in fails("--web", taken)
    serve.end()
    assert "web needs web_auth" in fails("--web", "127.0.0.1:0", "--map", "/m/{local}")
    (tmp_path / "starlette.py").write_text("raise ImportError('no starlette here')")
    assert "pip install 'maildir-safe[server]'" in fails("--web", "127.0.0.1:0", PYTHONPATH=str(tmp_path))
    (tmp_path / "starlette.py").unlink()
    (tmp_path / "sitecustomize.py").write_text("import uvicorn\ndel uvicorn.Server.capture_signals\n")
    assert "uvicorn 0.30 or later" in fails("--web", "127.0.0.1:0", PYTHONPATH=str(tmp_path))


def idle(serve: Serve, count: int) -> list[socket.socket]:
    """Connections that say nothing."""
    host, _, port = serve.told("Inbox").split("/")[2].rpartition(":")
    return [socket.create_connection((host, int(port))) for _ in range(count)]


def test_idle_connections_shut_nobody_out(tmp_path: Path) -> None:
    """1,100 of them took all descriptors: neither the page nor SMTP answered."""
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    pages = [listening(serve) for _ in range(3)]
    assert [page.getresponse().status for page in pages] == [200] * 3
    silent = idle(serve, 400)
    assert json.loads(get(serve, "api/messages"))["total"] == 0
    with serve.client() as client:
        client.sendmail("a@b", ["c@d"], MESSAGE)
    assert json.loads(get(serve, "api/messages"))["total"] == 1
    assert len(list(Path(f"/proc/{serve.process.pid}/fd").iterdir())) < 300
    assert all(page.sock is not None for page in pages)
    for connection in silent:
        connection.close()
    assert serve.end()[0] == 0


def resident(serve: Serve) -> int:
    """Mebibytes of memory."""
    status = Path(f"/proc/{serve.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def test_slow_readers_of_an_attachment_cost_no_memory(tmp_path: Path) -> None:
    """Sixty of them cost 2 GB: each had the decoded attachment."""
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    head = b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n"
    content = bytes(range(256)) * (20 << 12)
    key = Maildir(tmp_path / "Maildir").deliver(head + base64.encodebytes(content)).key
    path = f"api/messages/{key}/attachments/0"
    assert get(serve, path) == content
    before = resident(serve)
    readers = []
    for _ in range(20):
        connection = HTTPConnection(serve.told("Inbox").split("/")[2], timeout=60)
        connection.request("GET", f"/{path}")
        readers.append(connection.getresponse())
    assert [reader.status for reader in readers] == [200] * 20
    assert resident(serve) - before < 150
    assert readers[0].read() == content
    assert serve.end()[0] == 0


def test_the_page_has_the_names_that_it_was_given(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--web-host", "mail", "--web-host", "inbox.example")

    def status(host: str) -> int:
        connection = HTTPConnection(serve.told("Inbox").split("/")[2], timeout=20)
        connection.request("GET", "/health", headers={"Host": host})
        return connection.getresponse().status

    assert [status(host) for host in ("mail:8025", "inbox.example", "other")] == [200, 200, 403]
    assert serve.end()[0] == 0
