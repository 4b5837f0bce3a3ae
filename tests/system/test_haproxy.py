"""`maildir-safe serve` behind a real HAProxy: the PROXY protocol, and a host whose mount died."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Serve, free_port, stored, until

pytestmark = pytest.mark.mounts

CLIENT = "127.0.0.5"
FLAGS = ("--proxy-from", "127.0.0.1", "--metrics", "127.0.0.1:0")


@contextlib.contextmanager
def haproxy(tmp_path: Path, lines: list[str]) -> Iterator[tuple[str, int]]:
    """HAProxy with these lines in its one proxy, once it has a server that is up: its address."""
    port = free_port()
    config = tmp_path / "haproxy.cfg"
    timeouts = ["timeout connect 5s", "timeout client 30s", "timeout server 30s", "timeout check 30s"]
    ours = ["listen mail", f"bind 127.0.0.1:{port}", "retries 3", "source 127.0.0.1", "option redispatch"]
    text = ["global", f"stats socket {tmp_path}/h", "defaults", "mode tcp", *timeouts, *ours, *lines, ""]
    config.write_text("\n".join(text))
    process = subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL)
    try:
        until(lambda: greets("127.0.0.1", port))
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(30)


def states(tmp_path: Path) -> bytes:
    """The first columns and the state of each server, as HAProxy sees it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{tmp_path}/h")
        sock.sendall(b"show stat\n")
        rows = sock.makefile("rb").read().splitlines()
    return b"\n".join(b",".join([*row.split(b",")[:2], *row.split(b",")[17:18]]) for row in rows)


def greets(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=20) as sock:
            return sock.recv(3) == b"220"
    except OSError:
        return False


def send(address: tuple[str, int]) -> None:
    with smtplib.SMTP(*address, timeout=30, source_address=(CLIENT, 0)) as client:
        client.sendmail("a@example.com", ["b@example.com"], b"Subject: through the proxy\r\n")


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
def test_the_clients_address_comes_through(tmp_path: Path, how: str) -> None:
    serve = Serve(tmp_path, "M", *FLAGS)
    lines = ["option smtpchk", f"server one {serve.address} {how} check inter 200ms"]
    with haproxy(tmp_path, lines) as address:
        send(address)
    code, log = serve.end()
    assert code == 0
    (message,) = stored(tmp_path / "M")
    assert f"([{CLIENT}])".encode() in message
    assert f"peer={CLIENT}" in log or f'"{CLIENT}"' in log, log


def test_a_host_whose_mount_died_gets_no_more_clients(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    small = tmp_path / "one"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", small], check=True)
    serves = [Serve(tmp_path, f"{host}/M", *FLAGS) for host in ("one", "two")]
    checks = [serve.told("Health").rpartition("/")[0].rpartition(":")[2] for serve in serves]
    lines = ["option httpchk GET /readyz", "http-check expect status 200"]
    lines += [f"server {host} {serve.address} send-proxy-v2 check port {check} inter 200ms fall 1 rise 1"
              for host, serve, check in zip(("one", "two"), serves, checks, strict=True)]  # fmt: skip
    try:
        with haproxy(tmp_path, lines) as address:
            until(lambda: all(b"mail,%s,UP" % host in states(tmp_path) for host in (b"one", b"two")))
            for _ in range(4):
                send(address)
            both = [len(stored(tmp_path / host / "M")) for host in ("one", "two")]
            subprocess.run(["mount", "-o", "remount,ro", small], check=True)
            until(lambda: b"mail,one,DOWN" in states(tmp_path))
            for _ in range(4):
                send(address)
            after = [len(stored(tmp_path / host / "M")) for host in ("one", "two")]
    finally:
        ends = [serve.end() for serve in serves]
        subprocess.run(["umount", "-l", small], check=True)
    assert [code for code, _ in ends] == [0, 0]
    assert sum(both) == 4
    assert min(both) > 0
    assert after == [both[0], both[1] + 4]
