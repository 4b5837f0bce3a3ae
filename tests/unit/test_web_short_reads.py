"""A download that cannot be read to its end is an error, and never looks complete."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from tests.smtp_support import serving

DATA = b"data\n" * 40_000
MAIL = (
    b"Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\n"
    b"Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=a\n\n"
    + DATA
    + b"\n--b--\n"
)
PATHS = (
    "/api/messages/{}/raw",
    "/api/messages/{}/attachments/{}",
    "/api/v1/message/{}/raw",
    "/api/v1/message/{}/part/{}",
)


class Sick(io.FileIO):
    """A file of which one read fails; reads are counted over all files since `at` was set."""

    kind = ""
    at = count = 0

    def readinto(self, buffer: bytearray) -> int | None:  # type: ignore[override]
        Sick.count += 1
        if Sick.count < Sick.at:
            return super().readinto(buffer)
        if Sick.kind == "EIO":
            raise OSError(5, "Input/output error")
        return {"EAGAIN": None, "short": 0}[Sick.kind]


def get(port: int, path: str, version: str = "HTTP/1.0") -> tuple[int, bytes]:
    """The status and the body. Raises ConnectionResetError, IncompleteRead: the answer broke off."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(f"GET {path} {version}\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return answer.status, answer.read()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[str]]]:
    """The page's port, and the paths of all downloads of one message."""
    monkeypatch.setattr(OsFileSystem, "reader", lambda _, fd: io.BufferedReader(Sick(fd)))
    with serving(tmp_path, web="127.0.0.1:0") as server:
        port = int(server.service.web_address.rpartition(":")[2])
        key = Maildir(tmp_path / "M").deliver(MAIL).key
        Sick.at = 1 << 30
        [part] = json.loads(get(port, f"/api/messages/{key}")[1])["attachments"]
        yield port, [path.format(key, part["number"]) for path in PATHS]


@pytest.mark.parametrize("kind", ["EIO", "EAGAIN", "short"])
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_read_that_fails_is_a_503_or_breaks_the_connection(
    page: tuple[int, list[str]], kind: str, version: str
) -> None:
    """The status was 200, and for a client of HTTP/1.0 a truncated message looked whole."""
    port, paths = page
    Sick.kind = kind
    for path in paths:
        Sick.at, Sick.count = 1 << 30, 0
        good = get(port, path, version)
        assert good[0] == 200
        reads, seen = Sick.count, []
        for number in range(1, reads + 1):
            Sick.at, Sick.count = number, 0
            try:
                answer = get(port, path, version)
                seen.append(answer[0])
                assert answer[0] == 503 or answer == good, (path, number)  # nothing was missing any more
            except (ConnectionResetError, http.client.IncompleteRead):
                seen.append(0)
        assert seen[0] == 503, (path, seen)
        assert 0 in seen, (path, seen)
        assert 200 not in seen[: seen.index(0)], (path, seen)
