"""Faults that are added while the server runs: by programs and on the page."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from smtp_support import Serve
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._smtp.faults.chaos import MOST_ADDED, Chaos, Trigger
from maildir_safe._smtp.faults.faults import Fault, Faults
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard


@pytest.fixture
def chaos() -> Chaos:
    return Chaos()


@pytest.fixture
def client(tmp_path: Path, chaos: Chaos) -> Iterator[TestClient]:
    app = application(Maildir(tmp_path / "m"), chaos=chaos)
    app.state.script = lambda: Faults(
        [Fault(stage="data", reply="452 4.2.2 Full"), Fault(call="write", error="ENOSPC")]
    )
    with TestClient(Guard(app), base_url="http://127.0.0.1") as client:
        yield client


def test_a_fault_happens_until_it_is_removed(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0")
    try:
        web = http.client.HTTPConnection(serve.told("Inbox").removeprefix("http://").rstrip("/"))

        def ask(method: str, path: str, body: Any = None) -> Any:
            web.request(method, path, None if body is None else json.dumps(body))
            answer = web.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text)

        fault = {"stage": "rcpt", "match": "*@slow.example", "reply": "451 4.7.1 Later", "times": 1}
        number = ask("POST", "/api/faults", fault)["number"]
        again = ask(
            "POST", "/api/faults", {"stage": "mail", "match": "no@example.com", "reply": "550 5.7.1 No"}
        )["number"]
        with serve.client() as client:
            client.ehlo()
            assert client.mail("no@example.com")[0] == 550
            assert client.mail("me@example.com")[0] == 250
            assert client.rcpt("ada@example.com")[0] == 250
            assert client.rcpt("ada@slow.example") == (451, b"4.7.1 Later")
            assert client.rcpt("ada@slow.example")[0] == 250
            assert ask("GET", "/api/faults")["faults"][0] == {"number": number, **fault, "times": 0}
            ask("DELETE", f"/api/faults/{again}")
            client.rset()
            assert client.mail("no@example.com")[0] == 250
        said = [line["text"] for line in ask("GET", "/api/sessions")["sessions"][0]["lines"]]
        assert "a fault at rcpt: answer 451 4.7.1 Later" in said
    finally:
        serve.end()


def test_the_page_shows_adds_and_removes(client: TestClient, chaos: Chaos) -> None:
    page = client.get("/faults").text
    assert "answer 452 4.2.2 Full" in page
    assert "ENOSPC" in page
    chaos.set({"Sender": Trigger(451, 20)})
    form = {
        "stage": "rcpt",
        "match": '*@<b>"',
        "reply": "451 4.3.2 Busy",
        "delay": "1.5",
        "times": "3",
        "drop": "",
    }
    page = client.post("/faults", data=form).text
    assert "wait 1.5 s, answer 451 4.3.2 Busy" in page
    assert "at rcpt, for *@&lt;b&gt;&#34;, 3 more times" in page
    assert "in 20 % of cases" in page
    assert client.post("/faults", data={"stage": "connect", "drop": "on"}).status_code == 200
    assert [fault.drop for fault in chaos.added.values()] == [False, True]
    client.post("/faults/1/remove")
    assert list(chaos.added) == [2]
    assert client.post("/faults/1/remove").status_code == client.delete("/api/faults/1").status_code == 404
    assert client.delete("/api/faults").status_code == 200
    assert chaos.added == {}
    assert client.get("/api/faults").json()["script"] == [
        {"stage": "data", "reply": "452 4.2.2 Full"},
        {"stage": "", "call": "write", "error": "ENOSPC"},
    ]


def test_the_form_takes_a_name_and_a_code_alone(client: TestClient, chaos: Chaos) -> None:
    page = client.post("/faults", data={"stage": "rcpt", "match": "bob", "reply": "450", "times": "1"}).text
    assert "answer 450 4.0.0 Scripted fault</b> at rcpt, for bob@*, once more" in page
    assert chaos.at("rcpt", 1, ("bobby@example.com",), ()) is None
    assert chaos.at("rcpt", 1, ("bob@example.com",), ())
    assert "for bob@*, used up" in client.get("/faults").text
    assert chaos.at("rcpt", 1, ("bob@example.com",), ()) is None
    page = client.post("/faults", data={"stage": "auth", "match": "bob", "reply": "535 5.7.8 No"}).text
    assert "answer 535 5.7.8 No</b> at auth, for bob</span>" in page
    for reply in ("45", "650", "4500"):
        assert client.post("/faults", data={"stage": "rcpt", "reply": reply}).status_code == 400


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"stage": "nowhere", "drop": True}, "stage"),
        ({"stage": "rcpt"}, "does something"),
        ({"stage": "rcpt", "reply": "250 ok\r\n250 more"}, "reply"),
        ({"stage": "rcpt", "delay": 1e9}, "delay"),
        ({"stage": "rcpt", "delay": -1}, "delay"),
        ({"stage": "rcpt", "delay": True}, "delay"),
        ({"stage": "rcpt", "drop": True, "times": 0}, "times"),
        ({"stage": "rcpt", "drop": True, "chance": 2}, "chance"),
        ({"stage": "rcpt", "rate": "often"}, "rate"),
        ({"stage": "mail", "greylist": 60}, "greylist"),
        ({"call": "write", "error": "EIO"}, "call: no such field"),
        ({"stage": "rcpt", "drop": True, "match": "x" * 201}, "match"),
    ],
)
def test_what_makes_no_fault_is_refused_by_name(
    client: TestClient, chaos: Chaos, fields: dict[str, Any], named: str
) -> None:
    answer = client.post("/api/faults", json=fields)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
    nan = client.post("/api/faults", content=b'{"stage": "rcpt", "delay": NaN}')
    assert nan.status_code == 400
    assert client.post("/faults", data={"stage": "rcpt", "delay": "soon"}).status_code == 400
    assert chaos.added == {}


def test_there_are_only_so_many_and_none_without_a_test_server(client: TestClient, tmp_path: Path) -> None:
    for _ in range(MOST_ADDED):
        assert client.post("/api/faults", json={"stage": "rcpt", "drop": True}).status_code == 200
    assert client.post("/api/faults", json={"stage": "rcpt", "drop": True}).status_code == 400
    with TestClient(Guard(application(Maildir(tmp_path / "m"))), base_url="http://127.0.0.1") as other:
        assert other.get("/api/faults").status_code == other.get("/faults").status_code == 400
