"""BINARYMIME (RFC 3030): a message that is not lines of text comes by BDAT, and is stored byte for byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from smtp_support import Wire, serving, stored

from maildir_safe import Queue
from maildir_safe._smtp.server.background import BackgroundServer

NOISE = random.Random(7).randbytes(3000) + b"\r\n\n\r\0.\r\n\r" + bytes(range(256))
HEAD = (
    b"Subject: binary\r\nMessage-ID: <b@x>\r\nFrom: ada@example.com\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed;\r\n boundary=cut\r\n\r\n"
    b"--cut\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
)
MESSAGE = (
    HEAD + b"--cut\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n"
    b"Content-Disposition: attachment; filename=noise.bin\r\n\r\n" + NOISE + b"\r\n--cut--\r\n"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BackgroundServer]:
    with serving(tmp_path, web="127.0.0.1:0", relay="smtp://127.0.0.1:1", relay_to=["*@x"]) as server:
        yield server


@pytest.fixture
def wire(server: BackgroundServer) -> Iterator[Wire]:
    wire = Wire(server.service.smtp_addresses[0])
    yield wire
    wire.close()


def begin(wire: Wire, body: str = "BINARYMIME") -> None:
    assert "BINARYMIME" in wire.ask("EHLO client.example")
    assert wire.ask(f"MAIL FROM:<a@example.com> BODY={body}").startswith("250")
    assert wire.ask("RCPT TO:<b@example.com>").startswith("250")


def chunk(wire: Wire, data: bytes, last: bool = False) -> str:
    wire.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
    return wire.reply()


def as_sent(tmp_path: Path) -> list[bytes]:
    return [raw[raw.index(b"Subject: ") :] for raw in stored(tmp_path / "M")]


@pytest.mark.parametrize("sizes", [[len(MESSAGE)], [1], [7, 1, 1000]])
def test_it_is_stored_byte_for_byte(wire: Wire, tmp_path: Path, sizes: list[int]) -> None:
    begin(wire, "binarymime")
    at = 0
    while at < len(MESSAGE):
        for size in sizes:
            assert chunk(wire, MESSAGE[at : at + size]).startswith("250 2.0.0")
            at += size
    assert chunk(wire, b"", last=True).startswith("250 2.0.0 Stored")
    assert as_sent(tmp_path) == [MESSAGE]


def test_data_is_refused_and_the_next_message_is_text_again(wire: Wire, tmp_path: Path) -> None:
    begin(wire)
    assert wire.ask("DATA").startswith("503 5.5.1")
    assert wire.ask("RSET").startswith("250")
    begin(wire, "8BITMIME")
    assert chunk(wire, HEAD, last=True).startswith("250")
    assert wire.ask("MAIL FROM:<a@example.com>").startswith("250")
    assert wire.ask("RCPT TO:<b@example.com>").startswith("250")
    assert wire.ask("DATA").startswith("354")
    wire.send(HEAD + b".\r\n")
    assert wire.reply().startswith("250")
    assert as_sent(tmp_path) == [HEAD.replace(b"\r\n", b"\n")] * 2


def test_the_page_reads_it(wire: Wire, server: BackgroundServer) -> None:
    begin(wire)
    assert chunk(wire, MESSAGE, last=True).startswith("250")
    with httpx.Client(base_url=f"http://{server.service.web_address}/api", timeout=20) as page:
        message = page.get("/v1/message/latest").json()
        assert (message["Subject"], message["MessageID"]) == ("binary", "b@x")
        assert message["Text"].strip() == "hello"
        (attached,) = message["Attachments"]
        assert (attached["FileName"], attached["Size"]) == ("noise.bin", len(NOISE))
        part = page.get(f"/v1/message/latest/part/{attached['PartID']}")
        assert part.content == NOISE
        assert page.get("/v1/message/latest/raw").content.endswith(MESSAGE)


def test_it_is_not_released_by_data(wire: Wire, server: BackgroundServer) -> None:
    begin(wire)
    assert chunk(wire, MESSAGE, last=True).startswith("250")
    url = f"http://{server.service.web_address}/api/v1/message/latest/release"
    answer = httpx.post(url, json={"To": ["b@x"]}, timeout=20)
    assert (answer.status_code, "binary (BINARYMIME)" in answer.text) == (400, True)


def test_a_queue_does_not_offer_it(tmp_path: Path) -> None:
    Queue(tmp_path / "spool").close()
    with serving(tmp_path, queue=str(tmp_path / "spool")) as server:
        wire = Wire(server.service.smtp_addresses[0])
        assert "BINARYMIME" not in wire.ask("EHLO client.example")
        assert wire.ask("MAIL FROM:<a@example.com> BODY=BINARYMIME") == "501 5.5.4 BODY is 7BIT or 8BITMIME"
        wire.close()
