"""Attacks on the page's doors: its host names, its passwords, its path below a proxy."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import Passwords
from maildir_safe._smtp.server import throttle
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.password import PasswordDoor
from maildir_safe._web.prefix import Prefix

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    page = Prefix(Guard(application(Maildir(tmp_path / "m"))), "")
    return TestClient(page, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    "host",
    ["", ":80", "[", "[::1", "[evil]", "evil.example:", "evil.example:http", "evil.example:80:90", "a b",
     '"x"', "evil@127.0.0.1", "127.0.0.1@evil", "127.0.0.1/evil", "127.0.0.1:999999", "127.0.0.1\\evil"],
)  # fmt: skip
def test_a_malformed_host_is_not_taken_for_our_own(client: TestClient, host: str) -> None:
    """Starlette puts the server's own address in its place, and the name is checked by nobody."""
    assert client.get("/api/messages", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["LOCALHOST", "localhost.", "[::1]", "[::1]:8025", "192.0.2.1:8025"])
def test_a_name_of_this_machine_is_known_however_it_is_written(client: TestClient, host: str) -> None:
    assert client.get("/api/messages", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//", "x", "http://127.0.0.1:80:80", "\x7f"])
def test_a_malformed_origin_is_another_site(client: TestClient, origin: str) -> None:
    assert client.delete("/api/messages", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("path", ["", "/mail"])
def test_another_sites_link_opens_no_api_below_a_path_either(tmp_path: Path, path: str) -> None:
    page = Prefix(Guard(application(Maildir(tmp_path / "m"))), path)
    client = TestClient(page, base_url="http://127.0.0.1")
    assert client.get(f"{path}/api/messages", headers=LINK).status_code == 403
    assert client.get(f"{path}/", headers=LINK).status_code == 200


# Passwords


def _scope(password: str, peer: str = "192.0.2.1") -> dict[str, Any]:
    value = b"Basic " + base64.b64encode(f"ann:{password}".encode())
    return {"type": "http", "path": "/", "headers": [(b"authorization", value)], "client": (peer, 1)}


async def _app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    await send({"type": "http.response.start", "status": 200})


async def _ask(door: PasswordDoor, password: str, gone: asyncio.Event, peer: str = "192.0.2.1") -> int:
    found: list[int] = []

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        found.append(message.get("status", 0))

    await door(_scope(password, peer), receive, send)
    return found[0]


def test_a_flood_of_wrong_passwords_is_turned_away_and_the_right_one_enters() -> None:
    """One address has 32 tries that wait; more are answered at once, and others' tries still get a turn."""
    gate = threading.Event()
    passwords = Passwords({})

    def check(name: str, password: str) -> bool:  # noqa: ARG001
        gate.wait(20)
        return password == "right"

    passwords.check = check  # type: ignore[method-assign]
    door = PasswordDoor(_app, passwords)

    async def run() -> None:
        gone = asyncio.Event()
        flood = [asyncio.create_task(_ask(door, f"{n}", gone)) for n in range(100)]
        while sum(task.done() for task in flood) < 68:
            await asyncio.sleep(0.01)
        assert {task.result() for task in flood if task.done()} == {503}
        right = asyncio.create_task(_ask(door, "right", gone, "192.0.2.2"))
        await asyncio.sleep(0.01)
        gate.set()
        assert await right == 200
        gone.set()  # those that were told nothing yet hang up: nobody waits for their delay
        assert sorted([await task for task in flood]) == [401] * 32 + [503] * 68

    asyncio.run(run())


def test_who_hangs_up_while_a_wrong_password_is_delayed_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "FIRST_DELAY", 3600.0)
    monkeypatch.setattr(throttle, "_LONGEST_DELAY", 3600.0)
    passwords = Passwords({})
    passwords.check = lambda name, password: False  # type: ignore[method-assign] # noqa: ARG005

    async def run() -> None:
        gone = asyncio.Event()
        task = asyncio.create_task(_ask(PasswordDoor(_app, passwords), "x", gone))
        await asyncio.sleep(0.05)
        assert not task.done()
        gone.set()
        assert await asyncio.wait_for(task, 20) == 401

    asyncio.run(run())
