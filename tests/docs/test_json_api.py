"""docs/reference/json-api.md names exactly the fields that the API answers with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from blocks import DOCS
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web.app import application

PAGE = (DOCS / "reference/json-api.md").read_text()


def documented(table: str) -> set[str]:
    """The fields of one table of the page."""
    found = re.search(rf"<!-- fields: {table} -->\n\n((?:\|.*\n)+)", PAGE)
    assert found, table
    return set(re.findall(r"^\| `(\w+)`", found[1], re.MULTILINE))


def test_fields(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "Maildir")
    key = maildir.deliver(b"Subject: hello\n\nworld\n", recipient="ada@example.com").key
    with TestClient(application(maildir), base_url="http://localhost") as client:
        listed = client.get("/api/messages").json()
        waited = client.get("/api/wait", params={"to": "ada@"}).json()
        message = client.get(f"/api/messages/{key}").json()
        missing = client.get("/api/messages/none")
    assert listed.keys() == documented("list")
    assert listed["messages"][0].keys() == waited.keys() == documented("line")
    assert message.keys() == documented("line") | documented("message")
    assert missing.status_code == 404
    assert missing.json()["error"]


@pytest.mark.parametrize("route", ["/health", "/ready", "/metrics", "/api/messages", "/api/wait"])
def test_routes(route: str) -> None:
    assert f"GET {route}" in PAGE
