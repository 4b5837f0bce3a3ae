"""Chaos: Mailpit's request for random refusals, set while the server runs, seen from the sender's side."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from smtp_support import Wire, serving
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._smtp.faults.chaos import Chaos
from maildir_safe._smtp.faults.faults import Fault, Faults
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.service import Service
from maildir_safe._smtp.server.settings import Settings
from maildir_safe._web.app import application, serve_page

USUAL = {
    "Sender": {"ErrorCode": 451, "Probability": 0},
    "Recipient": {"ErrorCode": 451, "Probability": 0},
    "Authentication": {"ErrorCode": 535, "Probability": 0},
}
PASSWORD = base64.b64encode(b"\0ada\0secret").decode()


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    chaos = application(Maildir(tmp_path / "m"), chaos=Chaos())
    return TestClient(chaos, base_url="http://127.0.0.1")


def ask(address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    method = "GET" if data is None else "PUT"
    request = urllib.request.Request(
        f"http://{address}/api/v1/chaos", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def dialogue(address: str) -> list[str]:
    """The codes of the replies to a password, a sender and a recipient, each asked though one fails."""
    wire = Wire(address)
    wire.ask("EHLO x")
    return [wire.ask(line)[:9] for line in (f"AUTH PLAIN {PASSWORD}", "MAIL FROM:<a@b>", "RCPT TO:<c@d>")]


GOOD = ["235 2.7.0", "250 2.1.0", "250 2.1.5"]


def test_triggers_count_at_once_and_can_be_taken_back(tmp_path: Path) -> None:
    with serving(tmp_path, web="127.0.0.1:0") as server:
        smtp, web = server.service.smtp_addresses[0], server.service.web_address
        assert ask(web) == USUAL
        assert dialogue(smtp) == GOOD
        always = {"ErrorCode": 550, "Probability": 100}
        assert ask(web, {"Recipient": always}) == {**USUAL, "Recipient": always}
        assert dialogue(smtp) == [*GOOD[:2], "550 5.0.0"]
        assert ask(web, {"Sender": {"Probability": 100}})["Recipient"] == USUAL["Recipient"]
        assert dialogue(smtp) == [GOOD[0], "451 4.0.0", "503 5.5.1"]
        ask(web, {"Authentication": {"Probability": 100}})
        assert dialogue(smtp) == ["535 5.0.0", *GOOD[1:]]
        assert ask(web, {}) == USUAL
        assert dialogue(smtp) == GOOD


def test_a_probability_refuses_some(tmp_path: Path) -> None:
    with serving(tmp_path, web="127.0.0.1:0") as server:
        ask(server.service.web_address, {"Recipient": {"ErrorCode": 452, "Probability": 50}})
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        wire.ask("MAIL FROM:<a@b>")
        codes = {wire.ask("RCPT TO:<c@d>")[:9] for _ in range(15)}
    assert codes == {"452 4.0.0", "250 2.1.5"}


def test_scripted_faults_come_first_and_chaos_outlives_their_reload(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nstage = "rcpt"\nreply = "450 4.2.1 Later"\ntimes = 1\n')
    settings = Settings(
        maildir=str(tmp_path / "M"), smtp=["127.0.0.1:0"], web="127.0.0.1:0", faults=str(script)
    )
    with BackgroundServer(settings, page=serve_page) as server:
        ask(server.service.web_address, {"Recipient": {"ErrorCode": 550, "Probability": 100}})
        smtp = server.service.smtp_addresses[0]
        assert [dialogue(smtp)[2] for _ in range(2)] == ["450 4.2.1", "550 5.0.0"]
        script.write_text("")
        server.service._reload()
        assert dialogue(smtp)[2] == "550 5.0.0"


def test_a_scripted_fault_at_auth(tmp_path: Path) -> None:
    faults = Faults([Fault(stage="auth", match="ada", reply="454 4.7.0 Later", times=1)])
    with serving(tmp_path, faults) as server:
        smtp = server.service.smtp_addresses[0]
        assert [dialogue(smtp)[0] for _ in range(2)] == ["454 4.7.0", "235 2.7.0"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"Sender": {"ErrorCode": 250, "Probability": 5}}', "Sender.ErrorCode"),
        ('{"Sender": {"ErrorCode": 600}}', "Sender.ErrorCode"),
        ('{"Recipient": {"Probability": 101}}', "Recipient.Probability"),
        ('{"Recipient": {"Probability": -1}}', "Recipient.Probability"),
        ('{"Recipient": {"Probability": true}}', "Recipient.Probability"),
        ('{"Recipient": {"Probability": 0.5}}', "Recipient.Probability"),
        ('{"Authentication": {"Chance": 1}}', "Authentication.Chance"),
        ('{"Data": {"Probability": 1}}', "Data"),
        ('{"Sender": 5}', "Sender"),
        ("[]", "JSON"),
    ],
)
def test_a_malformed_trigger_is_named_and_changes_nothing(client: TestClient, body: str, named: str) -> None:
    before = client.put("/api/v1/chaos", json={"Sender": {"Probability": 7}}).json()
    answer = client.put("/api/v1/chaos", content=body)
    assert (answer.status_code, named in answer.text) == (400, True), answer.text
    assert client.get("/api/v1/chaos?x=1").status_code == 400
    assert client.get("/api/v1/chaos").json() == before


def test_a_server_with_several_workers_has_no_chaos(tmp_path: Path) -> None:
    with serving(tmp_path, web="127.0.0.1:0", workers=2) as server:
        for body in (None, {}):
            with pytest.raises(urllib.error.HTTPError) as error:
                ask(server.service.web_address, body)
            assert (error.value.code, b"Chaos is not enabled" in error.value.read()) == (400, True)


def test_a_server_for_users_has_no_chaos(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    service = Service(Settings(smtp=["127.0.0.1:0"], map=f"{tmp_path}/users/{{local}}"))
    assert service.server()._context.chaos is None
