"""CHUNKING (RFC 3030): a message in chunks is stored byte for byte, and no chunk is ever a command."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Wire, serving, stored, until

from maildir_safe._smtp.faults.faults import Fault, Faults
from maildir_safe._smtp.protocol.auth import hash_password
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.chunking import parse_bdat

TEXT = b"Subject: hello\r\n\r\nworld\r\n..two dots\r\n.\r\nafter the dot\r\n"
ON_DISK = TEXT.replace(b"\r\n", b"\n")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BackgroundServer]:
    with serving(tmp_path, max_size=10_000) as server:
        yield server


@pytest.fixture
def wire(server: BackgroundServer) -> Iterator[Wire]:
    wire = Wire(server.service.smtp_addresses[0])
    yield wire
    wire.close()


def begin(wire: Wire, *recipients: str) -> None:
    """Up to where the message may come."""
    greeting = wire.ask("EHLO client.example")
    assert "CHUNKING" in greeting.split("\n")[1:] or "250-CHUNKING" in greeting
    assert wire.ask("MAIL FROM:<a@example.com>").startswith("250")
    for recipient in recipients or ("b@example.com",):
        assert wire.ask(f"RCPT TO:<{recipient}>").startswith("250")


def chunk(wire: Wire, data: bytes, last: bool = False) -> str:
    wire.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
    return wire.reply()


def bodies(tmp_path: Path) -> list[bytes]:
    """The messages as sent: what follows our Received header."""
    return [raw[raw.index(b"Subject: ") :] for raw in stored(tmp_path / "M")]


def test_a_message_in_one_chunk(wire: Wire, tmp_path: Path) -> None:
    begin(wire)
    assert chunk(wire, TEXT, last=True).startswith("250 2.0.0 Stored as")
    assert bodies(tmp_path) == [ON_DISK]
    assert wire.ask("NOOP").startswith("250")


@pytest.mark.parametrize("cut", range(len(TEXT) + 1))
def test_it_may_be_cut_anywhere(tmp_path: Path, cut: int, server: BackgroundServer) -> None:
    wire = Wire(server.service.smtp_addresses[0])
    begin(wire)
    assert chunk(wire, TEXT[:cut]) == f"250 2.0.0 {cut} octets received"
    assert chunk(wire, TEXT[cut:], last=True).startswith("250")
    wire.close()
    assert bodies(tmp_path) == [ON_DISK]


def test_chunks_of_one_byte_and_an_empty_last_one(wire: Wire, tmp_path: Path) -> None:
    begin(wire)
    for at in range(len(TEXT)):
        assert chunk(wire, TEXT[at : at + 1]).startswith("250")
    assert chunk(wire, b"", last=True).startswith("250")
    assert bodies(tmp_path) == [ON_DISK]


def test_all_bytes_survive(wire: Wire, tmp_path: Path) -> None:
    noise = random.Random(3).randbytes(4000).replace(b"\r\n", b"") + b"\r"
    begin(wire)
    assert chunk(wire, b"Subject: x\r\n\r\n" + noise).startswith("250")
    assert chunk(wire, b"end without a line end\r", last=True).startswith("250")
    assert bodies(tmp_path) == [b"Subject: x\n\n" + noise + b"end without a line end\r"]


def test_everything_pipelined_in_one_packet(wire: Wire, tmp_path: Path) -> None:
    wire.ask("EHLO client.example")
    wire.send(
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
        b"BDAT 14\r\nSubject: one\r\nBDAT 2\r\n\r\nBDAT 6 LAST\r\ntext\r\n"
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 16 LAST\r\nSubject: two\r\n\r\nQUIT\r\n"
    )
    codes = [wire.reply()[:3] for _ in range(9)]
    assert codes == ["250"] * 8 + ["221"]
    assert sorted(bodies(tmp_path)) == [b"Subject: one\n\ntext\n", b"Subject: two\n\n"]


SMUGGLED = b"RSET\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<evil@x>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\nQUIT\r\n"


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ([], "503 5.5.1"),
        (["EHLO x"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b> SIZE=5", "RCPT TO:<a@b@c>"], "503 5.5.1"),
    ],
)
def test_a_refused_chunk_is_read_and_never_executed(
    wire: Wire, tmp_path: Path, before: list[str], code: str
) -> None:
    for line in before:
        wire.ask(line)
    assert chunk(wire, SMUGGLED, last=True).startswith(code)
    assert wire.ask("NOOP") == "250 2.0.0 OK"
    assert stored(tmp_path / "M") == []


def test_before_auth_a_chunk_is_not_executed(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text(f"ann:{hash_password('x')}\n")
    with serving(tmp_path, auth=str(file)) as server:
        wire = Wire(server.service.smtp_addresses[0])
        wire.ask("EHLO x")
        assert chunk(wire, SMUGGLED).startswith("530 5.7.0")
        assert wire.ask("NOOP") == "250 2.0.0 OK"
        wire.close()


@pytest.mark.parametrize(
    "argument", ["", "x", "-1", "1.5", "5 FIRST", "5 LAST LAST", "0x10", "5LAST", "\u0665", "1" * 21, "+5"]
)
def test_a_size_that_cannot_be_read_ends_the_connection(wire: Wire, tmp_path: Path, argument: str) -> None:
    assert parse_bdat(argument) is None
    begin(wire)
    wire.send(f"BDAT {argument}\r\n".encode() + SMUGGLED)
    assert wire.reply().startswith("501 5.5.4")
    assert wire.reply() == ""
    assert stored(tmp_path / "M") == []


def test_too_large_is_552_at_once_and_nothing_is_kept(wire: Wire, tmp_path: Path) -> None:
    begin(wire)
    assert chunk(wire, b"x" * 9000).startswith("250")
    assert chunk(wire, b"x" * 2000).startswith("552 5.3.4")
    assert chunk(wire, SMUGGLED).startswith("503 5.5.1")
    assert chunk(wire, b"x", last=True).startswith("503 5.5.1")
    assert wire.ask("DATA").startswith("503 5.5.1")
    assert wire.ask("RSET").startswith("250")
    begin(wire)
    assert chunk(wire, b"x" * 10_001, last=True).startswith("552 5.3.4")
    assert wire.ask("MAIL FROM:<a@b>").startswith("250")
    assert stored(tmp_path / "M") == []


def test_a_size_of_exabytes_is_not_believed(wire: Wire, server: BackgroundServer, tmp_path: Path) -> None:
    begin(wire)
    wire.send(b"BDAT 99999999999999999999 LAST\r\n" + b"x" * 100_000)
    wire.close()
    until(lambda: not server.service.budget.in_flight)
    assert stored(tmp_path / "M") == []


def test_after_the_first_chunk_only_chunks(wire: Wire, tmp_path: Path) -> None:
    begin(wire)
    assert chunk(wire, b"Subject: x\r\n\r\n").startswith("250")
    for command in ("DATA", "RCPT TO:<c@d>", "MAIL FROM:<a@b>"):
        assert wire.ask(command).startswith("503 5.5.1"), command
    assert chunk(wire, b"y\r\n", last=True).startswith("250")
    assert bodies(tmp_path) == [b"Subject: x\n\ny\n"]


@pytest.mark.parametrize("end", ["RSET", "EHLO again", "QUIT", "hang up"])
def test_a_message_that_is_given_up_leaves_nothing(
    wire: Wire, server: BackgroundServer, tmp_path: Path, end: str
) -> None:
    begin(wire)
    assert chunk(wire, b"x" * 9000).startswith("250")
    assert server.service.budget.in_flight == 9000
    if end == "hang up":
        wire.close()
    else:
        assert wire.ask(end)[0] == "2"
    until(lambda: not server.service.budget.in_flight)
    assert stored(tmp_path / "M") == []


def test_lmtp_answers_the_last_chunk_for_each_recipient(tmp_path: Path) -> None:
    with serving(tmp_path, lmtp=["127.0.0.1:0"], smtp=[]) as server:
        wire = Wire(server.service.lmtp_addresses[0])
        wire.ask("LHLO x")
        wire.ask("MAIL FROM:<a@b>")
        for name in ("one", "two"):
            wire.ask(f"RCPT TO:<{name}@x>")
        assert chunk(wire, b"Subject: x\r\n\r\n").startswith("250 2.0.0 14 octets")
        assert chunk(wire, b"", last=True).startswith("250 2.0.0 Stored")
        assert wire.reply().startswith("250 2.0.0 Stored")
        wire.close()


@pytest.mark.parametrize("stage", ["data", "received", "stored"])
def test_faults_meet_chunks_as_they_meet_data(tmp_path: Path, stage: str) -> None:
    faults = Faults([Fault(stage=stage, reply="451 4.0.0 scripted", times=1)])
    with serving(tmp_path, faults) as server:
        wire = Wire(server.service.smtp_addresses[0])
        begin(wire)
        assert chunk(wire, TEXT, last=True) == "451 4.0.0 scripted"
        wire.ask("RSET")
        begin(wire)
        assert chunk(wire, TEXT, last=True).startswith("250")
        wire.close()
    assert len(bodies(tmp_path)) == (2 if stage == "stored" else 1)
