"""Every way in which a connection can end, in every state that it can be in, gives its place back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from smtp_states import encrypted, in_half_a_handshake, in_handshake, in_transaction, reset
from smtp_support import Wire, serving, stored, until

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import Passwords, hash_password
from maildir_safe._smtp.server import connection, throttle
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.limits import MemoryBudget
from maildir_safe._smtp.server.throttle import Guesses


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_client_that_stalls_in_the_handshake_hears_nothing(tmp_path: Path) -> None:
    """A 421 in clear text is no TLS record; and its place is free although asyncio would wait for 60 s."""
    with serving(tmp_path, tls="made", timeout=3.0, max_connections=1) as server:
        wire = Wire(server.service.smtp_addresses[0])
        in_handshake(wire)
        said = b"nothing"
        with contextlib.suppress(ConnectionError):
            said = wire.sock.recv(1000)
        assert said in (b"", b"nothing")
        until(lambda: server.service.budget.connections == 0)
        assert Wire(server.service.smtp_addresses[0]).ask("NOOP").startswith("250")


def test_stopping_does_not_wait_for_a_handshake(tmp_path: Path) -> None:
    with serving(tmp_path, tls="made", grace=3600) as server:
        for reach in (in_handshake, in_half_a_handshake, encrypted):
            wire = Wire(server.service.smtp_addresses[0])
            reach(wire)
        server.stop()
        assert server.service.budget.connections == 0
        server.stop = lambda: None  # type: ignore[method-assign]


@pytest.mark.usefixtures("impatient")
def test_a_client_that_was_told_goodbye_and_stays_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=1) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert wire.ask("QUIT").startswith("221")  # and the client's side stays open
        until(lambda: server.service.budget.connections == 0)


def test_a_client_that_hangs_up_while_its_mail_is_stored_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver, go_on = Maildir.deliver_async, asyncio.Event()

    async def slow(self: Maildir, *args: Any, **options: Any) -> Any:
        await go_on.wait()
        return await deliver(self, *args, **options)

    monkeypatch.setattr(Maildir, "deliver_async", slow)
    with serving(tmp_path) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ready_for_data()
        wire.send(b"Subject: x\r\n\r\n.\r\n")
        until(lambda: server.service.budget.in_flight > 0)
        reset(wire)
        until(lambda: server.service.budget.connections == 0)
        server._loop.call_soon_threadsafe(go_on.set)
        until(lambda: "smtp stored" in server.text.getvalue())  # type: ignore[attr-defined]
        assert "the client left" in server.text.getvalue()  # type: ignore[attr-defined]
    assert len(stored(tmp_path / "M")) == 1


def test_each_wrong_guess_is_answered_later() -> None:
    """On a clock: half a second, one, two, ... for all connections of an address; a right one forgives."""
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    assert [guesses.wrong("192.0.2.1") for _ in range(6)] == [0.5, 1, 2, 4, 8, 10]
    assert guesses.wrong("192.0.2.2") == 0.5
    assert guesses.wrong("2001:db8::1") == 0.5
    assert guesses.wrong("2001:db8::2") == 1  # of one /64
    guesses.forget("192.0.2.1")
    assert guesses.wrong("192.0.2.1") == 0.5
    now[0] = 1000
    assert guesses.wrong("2001:db8::1") == 0.5
    for n in range(5000):
        guesses.wrong(f"10.0.{n // 256}.{n % 256}")
    assert len(guesses._wrong) <= 1000


def test_passwords_are_hashed_two_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB each: forty connections that guess must not take 640."""
    now, most, lock, gate = 0, 0, threading.Lock(), threading.Semaphore(0)

    def check(self: Passwords, name: str, password: str) -> bool:  # noqa: ARG001
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.acquire(timeout=20)
        with lock:
            now -= 1
        return False

    monkeypatch.setattr(Passwords, "check", check)
    monkeypatch.setattr(throttle, "FIRST_DELAY", 0.0)
    path = tmp_path / "passwords"
    path.write_text(f"a:{hash_password('x')}\n")
    with serving(tmp_path, auth=str(path)) as server:
        wires = [Wire(server.service.smtp_addresses[0]) for _ in range(20)]
        for wire in wires:
            wire.ask("EHLO x")
            wire.send(b"AUTH PLAIN " + base64.b64encode(b"\0a\0y") + b"\r\n")
        until(lambda: now == 2)
        gate.release(20)
        assert [wire.reply()[:3] for wire in wires] == ["535"] * 20
    assert most == 2


def test_hanging_up_during_a_check_makes_no_room_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash cannot be stopped: who resets the connection each time must not have forty of them."""
    now, most, lock, gate = 0, 0, threading.Lock(), threading.Event()

    def check(self: Passwords, name: str, password: str) -> bool:  # noqa: ARG001
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait(20)
        with lock:
            now -= 1
        return False

    monkeypatch.setattr(Passwords, "check", check)
    path = tmp_path / "passwords"
    path.write_text(f"a:{hash_password('x')}\n")
    with serving(tmp_path, auth=str(path)) as server:
        for n in range(10):
            wire = Wire(_serving_at(server))
            wire.ask("EHLO x")
            wire.send(b"AUTH PLAIN " + base64.b64encode(b"\0a\0y") + b"\r\n")
            if n < 2:
                until(lambda: now == n + 1)  # noqa: B023
            time.sleep(0.05)  # a reset that overtakes the command would drop it
            reset(wire)
            until(lambda: server.service.budget.connections == 0)
        assert (now, most) == (2, 2)
        gate.set()
        until(lambda: now == 0)
    assert most == 2


def _serving_at(server: BackgroundServer) -> str:
    return server.service.smtp_addresses[0]


def test_before_mail_a_silent_client_is_cut_off_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BEFORE_MAIL", 3.0)
    with serving(tmp_path) as server:
        silent, busy = Wire(_serving_at(server)), Wire(_serving_at(server))
        in_transaction(busy)
        assert silent.reply().startswith("421 4.4.2")
        assert busy.ask("NOOP").startswith("250")


def test_one_address_cannot_take_all_connections() -> None:
    budget = MemoryBudget(10, 1000, workers=2)
    assert [budget.connect("192.0.2.1") for _ in range(6)] == [True] * 5 + [False]
    budget.use_slot(1)
    assert not budget.connect("192.0.2.1")  # counted over all workers
    assert not budget.connect("::ffff:192.0.2.1")
    assert [budget.connect(f"2001:db8::{n}") for n in range(5)] == [True] * 5
    assert not budget.connect("2001:db8:1::1")  # there are ten
    budget.disconnect("2001:db8::1")
    assert budget.connect("127.0.0.1")  # this machine is not limited by address
    assert budget.connections == 10
    budget.use_slot(0)  # a worker that died took its own with it
    assert budget.connect("192.0.2.1")


@pytest.mark.parametrize("reach", [in_handshake, in_half_a_handshake])
def test_a_client_that_leaves_in_the_handshake_frees_its_place_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: Callable[[Wire], None]
) -> None:
    monkeypatch.setattr(connection, "LINGER", 3600)
    with serving(tmp_path, tls="made") as server:
        wire = Wire(server.service.smtp_addresses[0])
        reach(wire)
        wire.close()
        until(lambda: server.service.budget.connections == 0)
