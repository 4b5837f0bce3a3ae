"""Health checks: a store that takes no file or does not answer is noticed, and so is its recovery."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Serve, Wire, serving, until

from maildir_safe import Maildir, Queue
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._health import http as health_http, storage_check
from maildir_safe._health.http import local_address
from maildir_safe._health.trial import look_and_store, store_file
from maildir_safe._smtp.server import metrics
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.storage import LastUsed

CALLS = ["open_dir", "create", "write", "fsync", "close", "rename", "unlink"]


class Trouble:
    """Makes calls of every `OsFileSystem` fail or hang, for the trial's files only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = 0
        self.go_on = threading.Event()
        self.go_on.set()
        real = OsFileSystem.create

        def create(fs: OsFileSystem, name: str, dir_fd: int) -> int:
            if name.endswith(".tried"):
                self.go_on.wait(60)
                if self.error:
                    raise OSError(self.error, os.strerror(self.error))
            return real(fs, name, dir_fd)

        monkeypatch.setattr(OsFileSystem, "create", create)


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trouble]:
    monkeypatch.setattr(storage_check, "RETRY", 0.0)
    monkeypatch.setattr(storage_check, "PERIOD", 0.0)
    found = Trouble(monkeypatch)
    yield found
    found.go_on.set()


def answer(address: str, path: str = "/readyz") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def stores(tmp_path: Path) -> dict[str, dict[str, object]]:
    (tmp_path / "mail").mkdir()
    Maildir(tmp_path / "mail" / "b")
    return {
        "one Maildir": {},
        "with the page": {"web": "127.0.0.1:0"},
        "map": {"map": f"{tmp_path}/mail/{{local}}"},
        "queue": {"queue": str(tmp_path / "S")},
        "queue and map": {"queue": str(tmp_path / "S"), "map": f"{tmp_path}/mail/{{local}}"},
    }


def greeting(server: BackgroundServer) -> str:
    wire = Wire(server.service.smtp_addresses[0], greeting="")
    wire.close()
    return wire.banner


@pytest.mark.parametrize("kind", ["one Maildir", "with the page", "map", "queue", "queue and map"])
def test_a_store_that_takes_no_file_is_not_ready_until_it_does(
    tmp_path: Path, trouble: Trouble, kind: str
) -> None:
    with serving(tmp_path, metrics="127.0.0.1:0", **stores(tmp_path)[kind]) as server:
        at = server.service.metrics_address
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data("a@example.com", "b@example.com")  # opens a Maildir of the map
        assert wire.ask(b"Subject: x\r\n\r\n.").startswith("250")
        assert answer(at) == (200, "ready\n")
        assert greeting(server).startswith("220")
        for error in (errno.EROFS, errno.ENOSPC):
            trouble.error = error
            until(lambda: answer(at)[0] == 503)  # a round that began before may be under way
            why = answer(at)[1]
            assert str(tmp_path) in why
            assert os.strerror(error) in why
            assert greeting(server).startswith("421 4.3.0")
            assert answer(at, "/livez") == (200, "ok\n")
            trouble.error = 0
            until(lambda: answer(at) == (200, "ready\n"))
            assert greeting(server).startswith("220")
        assert wire.ask("NOOP").startswith("250")  # an open session is not cut off
        wire.close()
        assert 'maildir_safe_deliveries_total{result="stored"} 1.0' in answer(at, "/metrics")[1]
    log = server.text.getvalue()  # type: ignore[attr-defined]
    assert os.strerror(errno.EROFS) in log


def test_a_store_that_hangs_is_not_ready_until_it_answers(
    tmp_path: Path, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_check.StorageCheck.__init__, "__defaults__", (0.2,))
    with serving(tmp_path, metrics="127.0.0.1:0") as server:
        at = server.service.metrics_address
        until(lambda: answer(at)[0] == 200)
        until(lambda: greeting(server).startswith("220"))
        trouble.go_on.clear()
        until(lambda: answer(at)[0] == 503)
        threads = threading.active_count()
        for _ in range(3):
            assert "no answer for" in answer(at)[1]
            assert greeting(server).startswith("421")
        assert threading.active_count() <= threads + 2  # one hangs, however often somebody asks
        trouble.go_on.set()
        until(lambda: answer(at)[0] == 200)
        until(lambda: greeting(server).startswith("220"))


def test_the_page_is_ready_only_if_a_file_can_be_stored(tmp_path: Path, trouble: Trouble) -> None:
    with serving(tmp_path, web="127.0.0.1:0") as server:
        at = server.service.web_address
        for path in ("/ready", "/readyz"):
            until(lambda: answer(at, path) == (200, "ready\n"))  # noqa: B023 - called at once
            trouble.error = errno.EROFS
            until(lambda: answer(at, path)[0] == 503)  # noqa: B023
            trouble.error = 0


@pytest.mark.parametrize("call", CALLS)
def test_a_trial_leaves_no_file_whichever_call_fails(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = OsFileSystem()
    real, calls = getattr(fs, call), []

    def fails_once_executed(*args: object, **named: object) -> object:
        result = real(*args, **named)
        calls.append(call)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return result

    monkeypatch.setattr(fs, call, fails_once_executed)
    with pytest.raises(OSError, match="Input/output error"):
        store_file(fs, str(tmp_path))
    assert call == "create" or list(tmp_path.iterdir()) == []


def test_a_trial_of_a_map_ignores_one_users_trouble_and_writes_nothing_above(tmp_path: Path) -> None:
    os.utime(tmp_path, (1e9, 1e9))
    look_and_store(OsFileSystem(), str(tmp_path), [f"{tmp_path}/removed"])
    assert tmp_path.stat().st_mtime == 1e9
    with pytest.raises(FileNotFoundError):
        look_and_store(OsFileSystem(), f"{tmp_path}/unmounted", [])


class OneMountIsReadOnly(OsFileSystem):
    """As if b.example were on a mount of its own."""

    def create(self, name: str, dir_fd: int) -> int:
        if "/b.example/" in os.readlink(f"/proc/self/fd/{dir_fd}"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return super().create(name, dir_fd)


def test_a_map_on_several_mounts(tmp_path: Path) -> None:
    """The Maildir opened last was tried alone: another domain's mount could be read-only, unnoticed."""
    used = LastUsed()
    for user in ("b.example/ann", "b.example/bob", "a.example/ann"):
        (tmp_path / user).parent.mkdir(exist_ok=True)
        Maildir(tmp_path / user)
        used.add(f"{tmp_path}/{user}")
    assert used.paths() == [f"{tmp_path}/b.example/bob", f"{tmp_path}/a.example/ann"]
    look_and_store(OsFileSystem(), str(tmp_path), used.paths())
    with pytest.raises(OSError, match="Read-only"):
        look_and_store(OneMountIsReadOnly(), str(tmp_path), used.paths())
    for number in range(20):
        used.add(f"/mail/{number}/ann")
    assert used.paths() == [f"/mail/{number}/ann" for number in range(12, 20)]


@pytest.fixture
def health(tmp_path: Path) -> Iterator[tuple[str, int]]:
    with serving(tmp_path, metrics="127.0.0.1:0") as server:
        host, _, port = server.service.metrics_address.rpartition(":")
        yield host, int(port)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /readyz?x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"POST /readyz HTTP/1.1\r\n\r\n", 405),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"\0\xff\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 2 * health_http.MAX_REQUEST + b"\r\n\r\n", 400),
    ],
)
def test_requests_of_strangers(health: tuple[str, int], request_: bytes, status: int) -> None:
    with socket.create_connection(health, timeout=20) as sock:
        sock.sendall(request_)
        got = http.client.HTTPResponse(sock, method=request_.split()[0].decode("latin-1"))
        got.begin()
        assert got.status == status


def test_idle_connections_are_limited_in_number_and_time(
    health: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_http, "TIMEOUT", 2.0)
    idle = [socket.create_connection(health, timeout=20) for _ in range(health_http.CONNECTIONS + 1)]
    assert closed(idle.pop())
    assert all(closed(sock) for sock in idle)
    assert answer(f"{health[0]}:{health[1]}")[0] == 200


def closed(sock: socket.socket) -> bool:
    with sock:
        try:
            return sock.recv(100) == b""
        except ConnectionError:
            return True


def test_an_address_without_a_host_is_this_machine() -> None:
    assert [local_address(text) for text in ("9100", ":9100", "0.0.0.0:9100", "[::1]:1")] == [
        "127.0.0.1:9100",
        "127.0.0.1:9100",
        "0.0.0.0:9100",
        "[::1]:1",
    ]


def test_the_command_serves_health_with_workers(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--metrics", "127.0.0.1:0", "--workers", "2", "--queue", "S")
    at = serve.told("Health").removeprefix("http://").removesuffix("/readyz")
    assert [answer(at, path)[0] for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
    assert serve.end()[0] == 0


def test_a_worker_serves_health(tmp_path: Path) -> None:
    Queue(tmp_path / "S").close()
    Maildir(tmp_path / "M")
    command = [sys.executable, "-m", "maildir_safe", "work", "S", "--to", f"maildir:{tmp_path}/M"]
    worker = subprocess.Popen([*command, "--metrics", ":0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert worker.stderr
    at = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", worker.stderr.readline())
    assert at
    assert [answer(at[1], path)[0] for path in ("/livez", "/readyz")] == [200, 200]
    assert 'maildir_safe_queue_messages{state="pending"} 0.0' in answer(at[1], "/metrics")[1]
    (tmp_path / "M" / "tmp").rmdir()
    until(lambda: answer(at[1]) == (503, f"{tmp_path}/M: No such file or directory\n"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    worker.stderr.close()


def test_silent_connections_do_not_keep_a_check_out(health: tuple[str, int]) -> None:
    silent = [socket.create_connection(health, timeout=20) for _ in range(2 * health_http.CONNECTIONS)]
    with socket.create_connection(health, timeout=20) as sock:
        sock.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    for one in silent:
        one.close()


@pytest.mark.parametrize("request_", [b"", b"GET /metrics HTTP/1.0\r\n\r\n"], ids=["silent", "waiting"])
def test_one_client_cannot_keep_the_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    """Whether it says nothing, or asks what a storage that hangs delays: it loses connections of its own."""
    go_on = threading.Event()
    monkeypatch.setattr(metrics, "metrics_text", lambda _: go_on.wait(60) and b"")
    monkeypatch.setattr(health_http, "TIMEOUT", 60.0)
    monkeypatch.setattr(health_http, "SCRAPE_TIMEOUT", 60.0)
    with serving(tmp_path, metrics="127.0.0.1:0") as server:
        host, _, port = server.service.metrics_address.rpartition(":")
        at = host, int(port)
        checks = [socket.create_connection(at, timeout=20, source_address=("127.0.0.2", 0)) for _ in range(2)]
        greedy = []
        for _ in range(2 * health_http.CONNECTIONS):
            greedy.append(socket.create_connection(at, timeout=20))
            with contextlib.suppress(ConnectionError):  # closed before it could ask
                greedy[-1].sendall(request_)
        for check in checks:
            check.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert check.recv(100).startswith(b"HTTP/1.1 200")
        go_on.set()
    for sock in greedy:
        sock.close()
