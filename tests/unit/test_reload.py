"""SIGHUP reads certificate, passwords, faults and map again, and no connection ends."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from smtp_support import Serve, Wire, stored, until, workers_of

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import hash_password
from maildir_safe._smtp.server.server import begin_reload


def certificate(path: Path) -> trustme.CA:
    """A new certificate for localhost in a file, and the CA that signed it."""
    ca = trustme.CA()
    made = ca.issue_cert("localhost")
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    return ca


def encrypted(address: str, ca: trustme.CA) -> None:
    """STARTTLS; raises SSLError if another CA has signed the certificate."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    wire = Wire(address)
    with closing(wire.sock):
        wire.ask("EHLO c")
        assert wire.ask("STARTTLS").startswith("220")
        context.wrap_socket(wire.sock, server_hostname="localhost").close()


def login(wire: Wire, password: str) -> str:
    return wire.ask("AUTH PLAIN " + base64.b64encode(f"\0ann\0{password}".encode()).decode())


def reload(serve: Serve, expected: str = "serve: reloaded") -> None:
    seen = serve.log.read_text().count(expected)
    serve.process.send_signal(signal.SIGHUP)
    until(lambda: serve.log.read_text().count(expected) > seen)


def test_certificate_and_passwords(tmp_path: Path) -> None:
    ca = certificate(tmp_path / "tls.pem")
    serve = Serve(tmp_path, "--tls", f"{tmp_path}/tls.pem")
    open_before = Wire(serve.address)
    open_before.ready_for_data()
    encrypted(serve.address, ca)
    other = certificate(tmp_path / "tls.pem")
    encrypted(serve.address, ca)  # nothing is read before the signal
    reload(serve)
    encrypted(serve.address, other)
    with pytest.raises(ssl.SSLError):
        encrypted(serve.address, ca)
    assert open_before.ask(b"Subject: goes on\r\n\r\n.").startswith("250")
    assert serve.end()[0] == 0


def test_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    ca = certificate(tmp_path / "tls.pem")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"ann:{hash_password('first')}\n")
    config = tmp_path / "serve.toml"
    config.write_text(f'auth = "{passwords}"\n')
    serve = Serve(tmp_path, "--config", str(config))
    wire = Wire(serve.address)
    wire.ask("EHLO c")
    passwords.write_text("ann:in clear text\n")
    reload(serve, "not reloaded, everything stays as it was")
    assert login(wire, "first").startswith("235")
    passwords.write_text(f"ann:{hash_password('second')}\n")
    config.write_text(f'auth = "{passwords}"\nmax_size = 1000\n')
    reload(serve, "these count after a restart: max_size")
    second = Wire(serve.address)
    assert "SIZE 1000" not in second.ask("EHLO c")
    assert login(second, "first").startswith("535")
    assert login(second, "second").startswith("235")
    config.write_text("")  # without passwords it would be open
    reload(serve, "auth begins or ends only at a restart")
    third = Wire(serve.address)
    third.ask("EHLO c")
    assert third.ask("MAIL FROM:<a@b>").startswith("530")
    assert ca is not None
    assert wire.ask("NOOP").startswith("250")
    assert serve.end()[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_map_in_every_process(tmp_path: Path, workers: str) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        Maildir(tmp_path / name / ("ann" if name == "old" else "bob"))
    config = tmp_path / "serve.toml"
    config.write_text(f'map = "{tmp_path}/old/{{local}}"\nworkers = {workers}\n')
    serve = Serve(tmp_path, "--config", str(config))
    workers_of(serve, 0 if workers == "1" else 2)

    def takes(name: str) -> bool:
        wire = Wire(serve.address)
        with closing(wire.sock):
            wire.ask("EHLO c")
            wire.ask("MAIL FROM:<a@b>")
            return wire.ask(f"RCPT TO:<{name}@x.example>").startswith("250")

    open_before = [Wire(serve.address) for _ in range(4)]
    assert takes("ann")
    config.write_text(config.read_text().replace("/old/", "/new/"))
    reload(serve)
    until(lambda: all(takes("bob") and not takes("ann") for _ in range(8)))  # one process may be later
    for wire in open_before:
        assert wire.ask("EHLO c").startswith("250")
        assert wire.ask("MAIL FROM:<a@b>").startswith("250")
        tries = iter(range(6))  # wrong recipients that a session may have
        while not wire.ask("RCPT TO:<bob@x.example>").startswith("250"):
            time.sleep(next(tries))
        assert wire.ask("DATA").startswith("354")
        assert wire.ask(b"Subject: x\r\n\r\n.").startswith("250")
    assert len(stored(tmp_path / "new" / "bob")) == 4
    assert serve.end()[0] == 0


def test_the_faults(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text("")
    serve = Serve(tmp_path, "--faults", str(faults))
    wire = Wire(serve.address)
    wire.ask("EHLO c")
    assert wire.ask("MAIL FROM:<a@b>").startswith("250")
    faults.write_text('[[fault]]\nstage = "mail"\nreply = "451 4.7.1 Later"\n')
    reload(serve)
    wire.ask("RSET")
    assert wire.ask("MAIL FROM:<a@b>") == "451 4.7.1 Later"
    assert serve.end()[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(f"{tmp_path}/notify")
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        serve = Serve(tmp_path, "--workers", workers)
        assert manager.recv(4096).startswith(b"READY=1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.kill(serve.process.pid, signal.SIGHUP)
        told: list[str] = []
        while not told or not told[-1].startswith("READY=1"):
            text = manager.recv(4096).decode()
            told += [text] * (not text.startswith("WATCHDOG=1"))
        assert serve.end()[0] == 0
    first = dict(line.split("=", 1) for line in told[0].splitlines())
    assert first["RELOADING"] == "1"
    assert before <= int(first["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert len(told) == 2


def test_a_hundred_signals_at_once_are_two_reloads() -> None:
    began = 0

    async def run() -> None:
        go_on = asyncio.Event()
        running: set[asyncio.Task[None]] = set()

        async def reload() -> None:
            nonlocal began
            began += 1
            await go_on.wait()

        for _ in range(100):
            begin_reload(reload, running)
        await asyncio.sleep(0)
        assert began == 2
        go_on.set()
        await asyncio.gather(*running)
        await asyncio.sleep(0)
        begin_reload(reload, running)
        await asyncio.gather(*running)
        assert began == 3

    asyncio.run(run())
