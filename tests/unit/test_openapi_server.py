"""The OpenAPI document against a running `serve`: it answers whatever it is asked as the document says.

schemathesis makes requests from the document, right ones and wrong ones, the same in every run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from smtp_support import Serve

from maildir_safe import Maildir
from maildir_safe._smtp.faults.chaos import Chaos
from maildir_safe._smtp.server.transcripts import Transcripts
from maildir_safe._web.app import application
from maildir_safe._web.openapi import document

EXAMPLES = 5
KEY = "1700000000.M1P1Q1.host"
HTML = (
    b"From: Ada <ada@example.com>\nTo: bob@example.org\nSubject: hi\nReturn-Path: <ada@example.com>\n"
    b"Delivered-To: bob@example.org\nList-Unsubscribe: <https://example.com/>\n"
    b"Content-Type: multipart/mixed; boundary=b\n\n"
    b"--b\nContent-Type: text/html\n\n<p style='display: grid'>123456 https://example.com/\n"
    b"--b\nContent-Disposition: attachment; filename=a.txt\n\ndata\n--b--\n"
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
FORM = "application/x-www-form-urlencoded"
REAL = {"key": KEY, "id": KEY, "number": "2", "part": "2", "tag": "red"}

with tempfile.TemporaryDirectory() as directory:
    DOCUMENT = document(application(Maildir(directory), chaos=Chaos(), transcripts=Transcripts()).routes)


def strict(shape: Any) -> Any:
    """A shape that has no other fields than it names."""
    if isinstance(shape, list):
        return [strict(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    closed = {"additionalProperties": False} if "properties" in shape and "type" in shape else {}
    return {**closed, **{name: strict(one) for name, one in shape.items()}}


def closed() -> dict[str, Any]:
    """The document, with answers that have no other fields than it names."""
    found = deepcopy(DOCUMENT)
    for operation in (one for methods in found["paths"].values() for one in methods.values()):
        for answer in operation["responses"].values():
            answer["content"] = strict(answer.get("content", {}))
    return found


SCHEMA = schemathesis.openapi.from_dict(closed())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


def is_seconds(value: object) -> bool:
    """Whether a request with this timeout would wait."""
    try:
        return 0 <= float(str(value)) <= 60
    except ValueError:
        return False


class Running:
    """A server, and its one message under a key that is known."""

    def __init__(self, path: Path) -> None:
        self.serve = Serve(path, "M", "--web", "127.0.0.1:0")
        self.url = self.serve.told("Inbox").rstrip("/")
        self.path = path / "M"
        self.session = requests.Session()

    def prepare(self) -> None:
        """The message is there, whatever earlier requests did."""
        if not any(self.path.glob(f"*/{KEY}*")):
            (self.path / "new" / KEY).write_bytes(HTML)
            self.session.get(f"{self.url}/api/messages")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    found = Running(tmp_path_factory.mktemp("openapi"))
    with found.serve.client() as client:
        client.sendmail("a@example.com", ["b@example.com"], b"Subject: a session\r\n\r\n")
    yield found
    found.session.close()
    code, log = found.serve.end()
    assert (code, "Traceback" in log) == (0, False), log


def test_the_server_serves_the_document(running: Running) -> None:
    assert running.session.get(f"{running.url}/api/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("operation", OPERATIONS, ids=[one.label for one in OPERATIONS])
def test_it_answers_as_the_document_says(running: Running, operation: Any) -> None:
    places = {one["name"] for one in operation.definition.raw["parameters"] if one["in"] == "path"}
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=right | wrong, real=st.booleans())
    def ask(case: Any, real: bool) -> None:
        running.prepare()
        if real:
            case.path_parameters = {name: REAL[name] for name in places}
        if case.path.endswith("/wait") and is_seconds(case.query.get("timeout", "10")):
            case.query["timeout"] = "0"
        # in a form everything is a text, so that what is wrong in JSON may be right there
        checks = [one for one in CHECKS if case.media_type != FORM or one is not negative_data_rejection]
        case.call_and_validate(base_url=running.url, session=running.session, checks=checks)

    ask()


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_other_methods_are_refused(running: Running, path: str) -> None:
    documented = {method.upper() for method in DOCUMENT["paths"][path]}
    for method in {"GET", "PUT", "POST", "DELETE", "PATCH"} - documented:
        answer = running.session.request(method, running.url + path.format(**REAL))
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} <= documented
