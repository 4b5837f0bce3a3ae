"""Mailpit's events by websocket: a client from PyPI, against a real server."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from smtp_support import serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import hash_password
from maildir_safe._web import mailpit_events
from maildir_safe._web.connections import BoundedProtocol
from maildir_safe.errors import TemporaryError

HELLO = b"From: Ada <ada@example.com>\nTo: bob@example.org\nSubject: hello\nMessage-ID: <1@x>\n\nhi\n"


class Page:
    """A running page."""

    def __init__(self, tmp_path: Path, address: str, scheme: str = "http") -> None:
        self.maildir, self.address = Maildir(tmp_path / "M"), address
        self.http = httpx.Client(base_url=f"{scheme}://{address}/api/v1", timeout=20)

    def listen(self, **how: Any) -> ClientConnection:
        return connect(f"ws://{self.address}/api/events", open_timeout=60, **how)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with serving(tmp_path, web="127.0.0.1:0") as server:
        page = Page(tmp_path, server.service.web_address)
        yield page
        page.http.close()


def heard(socket: ClientConnection, until: str) -> list[tuple[str, Any]]:
    """The events up to the first of a type."""
    found: list[tuple[str, Any]] = []
    while not found or found[-1][0] != until:
        event = json.loads(socket.recv(timeout=30))
        assert event.keys() == {"Type", "Data"}
        found.append((event["Type"], event["Data"]))
    return found


def test_a_message_comes_is_read_tagged_and_deleted(page: Page) -> None:
    with page.listen() as socket:
        key = page.maildir.deliver(HELLO).key
        (_, new), (_, counts) = heard(socket, "stats")
        assert new == page.http.get("messages").json()["messages"][0]
        assert (new["ID"], new["Subject"], new["Read"], new["From"]["Name"]) == (key, "hello", False, "Ada")
        assert (counts["Total"], counts["Unread"]) == (1, 1)
        assert counts["Version"] == page.http.get("info").json()["Version"]
        page.http.put("messages", json={"IDs": [key], "Read": True})
        assert heard(socket, "update") == [("update", {"ID": key, "Read": True})]
        assert heard(socket, "stats")[-1][1]["Unread"] == 0
        page.http.put("tags", json={"IDs": [key], "Tags": ["red"]})
        assert heard(socket, "update") == [("update", {"ID": key, "Tags": ["red"]})]
        page.http.put("tags/red", json={"Name": "blue"})
        assert heard(socket, "prune") == [("prune", None)]
        second = page.maildir.deliver(HELLO).key
        heard(socket, "stats")
        page.http.request("DELETE", "messages", json={"IDs": [key]})
        assert [kind for kind, _ in heard(socket, "stats")] == ["delete", "stats"]
        page.http.request("DELETE", "messages")
        *rest, last = heard(socket, "stats")
        assert rest == [("delete", {"ID": second}), ("truncate", None)]
        assert last[1]["Total"] == 0


def test_all_listeners_hear_all_and_what_they_say_is_dropped(page: Page) -> None:
    with page.listen() as one, page.listen() as other:
        one.send("nonsense")
        one.send(b"\x00")
        key = page.maildir.deliver(HELLO).key
        assert heard(one, "stats") == heard(other, "stats")
        one.close()
        page.maildir.discard(key)
        assert heard(other, "stats")[0] == ("delete", {"ID": key})


def test_who_says_much_is_hung_up_on(page: Page) -> None:
    with page.listen() as socket:
        socket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code == 1009


def test_many_changes_at_once_are_one_prune(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailpit_events, "MOST_AT_ONCE", 3)
    with page.listen() as socket:
        for _ in range(10):
            page.maildir.deliver(HELLO)
        told = heard(socket, "stats")
        while told[-1][1]["Total"] < 10:
            told += heard(socket, "stats")
        kinds = [kind for kind, _ in told]
        page.http.request("DELETE", "messages")
        told = heard(socket, "stats")
        while told[-1][1]["Total"]:
            told += heard(socket, "stats")
        ends = [kind for kind, _ in told]
    assert ends[-2:] == ["truncate", "stats"]
    assert ends.count("truncate") == 1
    assert "prune" in ends or ends.count("delete") == 10
    assert kinds.count("new") == 10 or "prune" in kinds  # several listings may have shared the work


def test_who_does_not_read_is_behind_and_hung_up_on() -> None:
    listener = mailpit_events.Listener()
    listener.put(["x"] * mailpit_events.MOST_WAITING)
    assert listener.ended == 0
    listener.put(["x"])
    assert listener.ended == 1013


def test_an_error_of_the_storage_is_an_event(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailpit_events, "_PAUSE", 0.1)
    with page.listen() as socket:
        with monkeypatch.context() as broken:

            def fail(*_: object) -> None:
                raise TemporaryError("no such mount")

            broken.setattr(Maildir, "stamp", fail)
            (_, about) = heard(socket, "error")[-1]
            assert about == {"Level": "error", "Type": "storage", "IP": "", "Message": "no such mount"}
            with pytest.raises(InvalidStatus) as refused, page.listen():
                pass
            assert refused.value.response.status_code == 503
        page.maildir.deliver(HELLO)
        assert heard(socket, "new")[-1][1]["Subject"] == "hello"


def test_the_end_of_the_server_ends_it(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with serving(tmp_path, web="127.0.0.1:0") as server:
            socket = stack.enter_context(Page(tmp_path, server.service.web_address).listen())
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code in (1001, 1012)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
    ],
)  # fmt: skip
def test_another_site_may_not_listen(page: Page, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, page.listen(additional_headers=headers):
        pass
    assert refused.value.response.status_code == status
    with page.listen(additional_headers={"Origin": f"http://{page.address}"}):
        pass


def test_a_parameter_is_refused(page: Page) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{page.address}/api/events?zzz=1"):
        pass
    assert refused.value.response.status_code == 400
    assert b"zzz: no such parameter" in refused.value.response.body


def test_other_paths_take_no_websocket(page: Page) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{page.address}/events"):
        pass
    assert refused.value.response.status_code in (403, 404)
    assert httpx.get(f"http://{page.address}/api/events").status_code == 404


def test_the_password_is_asked_for_and_the_path_is_below_the_root(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text(f"ann:{hash_password('x')}\n")
    with serving(tmp_path, web="127.0.0.1:0", web_auth=str(file), web_root="/mail", web_tls="made") as server:
        tls = ssl.create_default_context(cafile=server.service.ca)
        url = f"wss://{server.service.web_address}/mail/api/events"
        for given in ({}, {"Authorization": "Basic " + base64.b64encode(b"ann:y").decode()}):
            with pytest.raises(InvalidStatus) as refused, connect(url, ssl=tls, additional_headers=given):
                pass
            assert refused.value.response.status_code == 401
        right = {"Authorization": "Basic " + base64.b64encode(b"ann:x").decode()}
        with connect(url, ssl=tls, additional_headers=right) as socket:
            Maildir(tmp_path / "M").deliver(HELLO)
            assert heard(socket, "stats")[0][0] == "new"
        outside = url.replace("/mail/", "/")
        with pytest.raises(InvalidStatus) as refused, connect(outside, ssl=tls, additional_headers=right):
            pass
        assert refused.value.response.status_code == 404


def test_too_many_listeners_shut_nobody_out(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "most_listeners", 4)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(page.listen()) for _ in range(7)]
        assert page.http.get("info").status_code == 200
        page.maildir.deliver(HELLO)
        open_ones = 0
        for socket in sockets:
            with contextlib.suppress(ConnectionClosed):
                heard(socket, "stats")
                open_ones += 1
        assert open_ones == 4


def test_a_listener_may_be_silent(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit of a first request is not for it."""
    monkeypatch.setattr(BoundedProtocol, "first_request", 5.0)
    with page.listen() as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=6)
        page.maildir.deliver(HELLO)
        assert heard(socket, "new")[-1][1]["Subject"] == "hello"
