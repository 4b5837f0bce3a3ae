"""The OpenAPI document: every route is in it, every request in it answers, with its parameters."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._smtp.faults.chaos import Chaos
from maildir_safe._smtp.server.relay import Relay
from maildir_safe._smtp.server.transcripts import Transcripts
from maildir_safe._web import message_page, page_changes, parts
from maildir_safe._web.app import application
from maildir_safe._web.mailbox_set import MailboxSet
from maildir_safe._web.openapi import document, is_for_programs
from maildir_safe._web.pages import ROUTES as PAGES

with tempfile.TemporaryDirectory() as directory:
    ROUTES = application(Maildir(directory), chaos=Chaos(), transcripts=Transcripts()).routes
DOCUMENT = document(ROUTES)
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
STRICT = [one for one in OPERATIONS if one[1].startswith(("/api/", "/view/"))]
REQUIRED = [
    (method, path, one["name"])
    for method, path, operation in OPERATIONS
    for one in operation["parameters"]
    if one["in"] == "query" and one["required"]
]
STRICT_NAMES = [f"{method} {path}" for method, path, _ in STRICT]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]
HTML = (
    b"From: ada@example.com\nContent-Type: multipart/mixed; boundary=b\n\n"
    b"--b\nContent-Type: text/html\n\n<p>hi\n"
    b"--b\nContent-Disposition: attachment; filename=a.txt\n\ndata\n--b--\n"
)
BODIES: dict[str, Any] = {
    "POST /api/faults": {"stage": "rcpt", "reply": "451 4.0.0 Later"},
    "POST /api/v1/send": {"From": {"Email": "ada@example.com"}},
    "POST /api/v1/message/{id}/release": {"To": ["bob@example.org"]},
    "PUT /api/v1/tags/{tag}": {"Name": "blue"},
}
VALUES = {
    "kind": "containing", "query": "hi", "timeout": "1", "limit": "1", "start": "0", "offset": "0",
    "dl": "1", "embed": "1",
}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    maildir = Maildir(tmp_path / "m")
    maildir.deliver(HTML)
    with TestClient(
        application(
            maildir,
            chaos=Chaos(),
            transcripts=Transcripts(),
            relay=Relay(lambda _: None, ["*@example.org"], "mx.example"),
        ),
        base_url="http://127.0.0.1",
    ) as client:
        yield client


def place(client: TestClient, path: str) -> str:
    """A path of the document, with what is really there in its places."""
    (message,) = client.get("/api/messages").json()["messages"]
    key = message["key"]
    if "{tag}" in path:
        assert client.put("/api/v1/tags", json={"IDs": [key], "Tags": ["red"]}).text == "ok"
    if path.startswith("/api/faults/"):
        number = client.post("/api/faults", json={"stage": "rcpt", "drop": True}).json()["number"]
        return path.format(number=number)
    number = str(client.get(f"/api/messages/{key}").json()["attachments"][0]["number"])
    latest = path.startswith(("/api/v1/message/", "/view/"))
    values = {"key": key, "id": "latest" if latest else key, "number": number, "part": number, "tag": "red"}
    return path.format(**values)


def test_every_route_is_in_it_and_nothing_else() -> None:
    people = {route.path for route in [*PAGES, *message_page.ROUTES, *page_changes.ROUTES, *parts.ROUTES]} | {
        "/sessions",
        "/faults",
        "/faults/{number}/remove",
    }
    real = {
        (method, route.path)
        for route in ROUTES
        if isinstance(route, Route) and route.path not in people
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(method, path) for method, path, _ in OPERATIONS} == real
    assert not any(map(is_for_programs, people))
    assert all(operation["summary"].endswith(".") for _, _, operation in OPERATIONS)


def test_it_is_served(client: TestClient) -> None:
    served = client.get("/api/openapi.json")
    assert served.json() == DOCUMENT
    assert (served.json()["openapi"], served.headers["content-type"]) == ("3.1.0", "application/json")


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_every_documented_request_answers(
    client: TestClient, method: str, path: str, operation: dict[str, Any]
) -> None:
    queries = [one for one in operation["parameters"] if one["in"] == "query"]
    params = {one["name"]: VALUES[one["name"]] for one in queries if one["required"]}
    body = BODIES.get(f"{method} {path}", {} if "requestBody" in operation else None)
    answer = client.request(method, place(client, path), params=params, json=body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("method", "path", "operation"), STRICT, ids=STRICT_NAMES)
def test_the_parameters_are_those_that_the_server_names(
    client: TestClient, method: str, path: str, operation: dict[str, Any]
) -> None:
    answer = client.request(method, place(client, path), params={"zzz": "1"})
    known = r"zzz: no such parameter; (?:the parameters are: ([\w, -]+)|this request takes none)"
    named = re.search(known, answer.text)
    assert answer.status_code == 400
    assert named is not None, answer.text
    documented = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
    assert documented == set((named[1] or "").replace(" ", "").split(",")) - {""}


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [one for one in OPERATIONS if "requestBody" in one[2] and one[1] != "/api/v1/send"],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_fields_are_those_that_the_server_names(
    client: TestClient, method: str, path: str, operation: dict[str, Any]
) -> None:
    answer = client.request(method, place(client, path), json={"Zzz": 1})
    named = re.search(r"Zzz: no such field; the fields are: ([\w, ]+)", answer.text)
    assert answer.status_code == 400
    assert named is not None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(named[1].split(", "))


@pytest.mark.parametrize(("method", "path", "name"), REQUIRED)
def test_the_required_parameters_are_required(client: TestClient, method: str, path: str, name: str) -> None:
    others = {other: VALUES[other] for *where, other in REQUIRED if where == [method, path] and other != name}
    answer = client.request(method, path, params=others)
    assert (answer.status_code, name in answer.text) == (400, True)


def test_a_message_that_another_deleted_first_is_not_there(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = client.get("/api/messages").json()["messages"]
    monkeypatch.setattr(MailboxSet, "discard", lambda *_: False)
    answer = client.delete(f"/api/messages/{message['key']}")
    assert (answer.status_code, [*answer.json()]) == (404, ["error"])
