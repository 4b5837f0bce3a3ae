"""Attacks on the page's doors: its host names, its passwords, its path below a proxy."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from maildir_safe import Maildir
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.prefix import Prefix

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    page = Prefix(Guard(application(Maildir(tmp_path / "m"))), "")
    return TestClient(page, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    "host",
    ["", ":80", "[", "[::1", "[evil]", "evil.example:", "evil.example:http", "evil.example:80:90", "a b", '"x"',
     "evil@127.0.0.1", "127.0.0.1@evil", "127.0.0.1/evil", "127.0.0.1:999999", "127.0.0.1\\evil"],
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
