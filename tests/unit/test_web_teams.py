"""The page for a team: passwords, TLS, a path below a proxy, and the warnings of an open page."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from pathlib import Path

import pytest
from smtp_support import Serve, serving
from starlette.testclient import TestClient
from starlette.types import Receive

from maildir_safe import Maildir
from maildir_safe._smtp.protocol.auth import Passwords, hash_password
from maildir_safe._smtp.server import throttle
from maildir_safe._web import password as door, tls_door
from maildir_safe._web.app import application
from maildir_safe._web.guard import Guard
from maildir_safe._web.password import PasswordDoor
from maildir_safe._web.prefix import Prefix


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords({"ann": hash_password("s3cret:ü")})


@pytest.fixture
def client(tmp_path: Path, passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(throttle, "FIRST_DELAY", 0.0)
    app = PasswordDoor(application(Maildir(tmp_path / "m")), passwords)
    return TestClient(Guard(app), base_url="http://127.0.0.1", raise_server_exceptions=True)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_nothing_is_shown_without_a_right_password(client: TestClient) -> None:
    for path in ("/", "/api/messages", "/api/v1/messages", "/metrics", "/static/inbox.js", "/events"):
        answer = client.get(path)
        assert (answer.status_code, "Basic" in answer.headers["www-authenticate"]) == (401, True), path
    assert client.delete("/api/messages").status_code == 401
    assert client.get("/api/messages").json() == {"error": "A name and a password are required."}
    for right in ("/", "/api/messages"):
        assert client.get(right, headers=basic("ann", "s3cret:ü")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        basic("ann", "wrong")["Authorization"], basic("eve", "s3cret:ü")["Authorization"], "Basic",
        "Basic ????",
        "Basic " + base64.b64encode(b"ann").decode(), "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Bearer x", "Basic " + "A" * 5000,
    ],
)  # fmt: skip
def test_wrong_and_malformed_credentials_are_401(client: TestClient, header: str) -> None:
    assert client.get("/", headers={"Authorization": header}).status_code == 401


def test_health_checks_need_no_password(client: TestClient) -> None:
    assert [client.get(path).status_code for path in ("/livez", "/readyz", "/health", "/ready")] == [200] * 4


def test_a_right_password_is_hashed_once_and_a_wrong_one_waits(
    client: TestClient, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, slept = [], []
    check = passwords.check

    def counted(name: str, password: str) -> bool:
        checked.append(name)
        return check(name, password)

    async def sleep(seconds: float, _: Receive) -> None:
        slept.append(seconds)

    monkeypatch.setattr(passwords, "check", counted)
    monkeypatch.setattr(door, "_delay", sleep)
    monkeypatch.setattr(throttle, "FIRST_DELAY", 0.5)
    for _ in range(3):
        assert client.get("/", headers=basic("ann", "s3cret:ü")).status_code == 200
    assert checked == ["ann"]
    for _ in range(3):
        assert client.get("/", headers=basic("ann", "no")).status_code == 401
    assert (checked, slept) == (["ann"] * 4, [0.5, 1.0, 2.0])


def test_a_page_below_a_path(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "m")
    key = maildir.deliver(b"Subject: hello\nContent-Type: text/html\n\n<b>x</b>").key
    app = Prefix(Guard(application(maildir)), "/mail")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        page = client.get("/mail/").text
        message = client.get(f"/mail/message/{key}").text
        for text in (page, message):
            assert 'data-root="/mail/"' in text
            for link in ('href="/', 'src="/', 'action="/'):
                assert text.count(link) == text.count(f"{link}mail/"), link
        for path in ("static/inbox.css", "static/inbox.js", f"message/{key}/html", "api/v1/info", "livez"):
            assert client.get(f"/mail/{path}").status_code == 200, path
        assert client.get("/mail", follow_redirects=False).headers["location"] == "/mail/"
        assert [client.get(path).status_code for path in ("/", "/mailbox/", "/api/messages")] == [404] * 3
        assert client.get("/livez").status_code == 200
        assert client.get("/mail/api/messages/none").json()["error"].startswith("There is no such message")
        gone = client.post(f"/mail/message/{key}/delete", follow_redirects=False)
        assert gone.headers["location"] == "/mail/"


def test_the_page_by_https(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "--web", "127.0.0.1:0", "--web-tls", "--web-root", "/mail")
    assert serve.told("Inbox").startswith("https://127.0.0.1:")
    assert serve.told("Inbox").endswith("/mail/")
    tls = ssl.create_default_context(cafile=serve.told("CA"))
    client = http.client.HTTPSConnection(serve.told("Inbox").split("/")[2], context=tls, timeout=20)
    for _ in range(2):  # the second request of the same connection
        client.request("GET", "/mail/api/messages")
        answer = client.getresponse()
        assert (answer.status, b'"total":0' in answer.read()) == (200, True)
    client.close()
    assert serve.end()[0] == 0


def test_a_request_in_the_packet_of_the_handshake_is_answered(tmp_path: Path) -> None:
    """TLS 1.3: the end of the client's handshake and its request arrive together."""
    with serving(tmp_path, web="127.0.0.1:0", web_tls="made") as server:
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context(cafile=server.service.ca).wrap_bio(
            into, out, server_hostname="localhost"
        )
        host, _, port = server.service.web_address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            sock.sendall(out.read())
            while True:
                into.write(sock.recv(65536))
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    continue
            tls.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            sock.sendall(out.read())  # Finished, and the request
            answer = b""
            while piece := sock.recv(65536):
                into.write(piece)
                try:
                    while data := tls.read():
                        answer += data
                except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                    continue
        assert answer.startswith(b"HTTP/1.1 200")


def test_stalled_handshakes_shut_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_door, "MOST_CONNECTIONS", 5)
    with serving(tmp_path, web="127.0.0.1:0", web_tls="made") as server:
        host, _, port = server.service.web_address.rpartition(":")
        stalled = [socket.create_connection((host, int(port)), timeout=20) for _ in range(12)]
        tls = ssl.create_default_context(cafile=server.service.ca)
        client = http.client.HTTPSConnection(host, int(port), context=tls, timeout=20)
        client.request("GET", "/livez")
        assert client.getresponse().status == 200
        client.close()
        assert stalled[0].recv(1) == b""  # the oldest was dropped
        for sock in stalled:
            sock.close()


def test_what_is_not_tls_is_closed(tmp_path: Path) -> None:
    with serving(tmp_path, web="127.0.0.1:0", web_tls="made") as server:
        host, _, port = server.service.web_address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                assert b"HTTP" not in sock.recv(1000)
            except ConnectionError:
                pass


def test_a_page_open_to_others_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text(f"ann:{hash_password('x')}\n")
    for settings, words in (
        ({"web": "0.0.0.0:0"}, "--web-auth FILE asks for a password"),
        ({"web": "0.0.0.0:0", "web_auth": str(file)}, "clear text"),
        ({"web": "0.0.0.0:0", "web_auth": str(file), "web_tls": "made"}, ""),
        ({"web": "127.0.0.1:0"}, ""),
    ):
        with serving(tmp_path, **settings) as server:
            assert bool(server.service.warnings) == bool(words), settings
            assert words in " ".join(server.service.warnings)


def test_users_mail_is_shown_behind_a_password(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    Maildir(tmp_path / "mail/ann").deliver(b"Subject: for ann\n\n")
    file = tmp_path / "passwords"
    file.write_text(f"boss:{hash_password('x')}\n")
    flags = ("--map", f"{tmp_path}/mail/{{local}}", "--web", "127.0.0.1:0", "--web-auth", str(file))
    serve = Serve(tmp_path, *flags)
    client = http.client.HTTPConnection(serve.told("Inbox").split("/")[2], timeout=20)
    for headers, status in (({}, 401), (basic("boss", "x"), 200)):
        client.request("GET", "/?mailbox=ann", headers=headers)
        answer = client.getresponse()
        assert (answer.status, b"for ann" in answer.read()) == (status, status == 200)
    client.close()
    assert serve.end()[0] == 0


@pytest.mark.parametrize("path", ["mail", "/", "/mail/", "/a b", "/a//b", "//x", "/<x>"])
def test_a_root_that_is_no_path_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="web_root"), serving(tmp_path, web="127.0.0.1:0", web_root=path):
        pass
