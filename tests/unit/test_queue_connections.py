"""How the relay opens connections and uses them again: EHLO or HELO, TLS or not, one message or several."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe import Queue
from maildir_safe._cli import main
from maildir_safe._queue.couriers import idle_connections
from maildir_safe._queue.couriers.smtp import SmtpCourier, dotted
from tests.unit.test_queue_smtp import Server, request

TLS = "250-me\r\n250 STARTTLS"


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def relay(
    servers: list[Server], messages: int = 1, require_tls: bool = False, **replies: str
) -> tuple[list[str], list[int]]:
    """What the server was told, and the code that each message got."""
    server = Server(replies, ["250 2.0.0 queued"])
    servers.append(server)
    courier = SmtpCourier(f"smtp://127.0.0.1:{server.port}", "us", require_tls=require_tls, timeout=60)
    codes = [courier(request("a@x.org"))["a@x.org"].code for _ in range(messages)]
    courier.close()
    return [line.partition(" FROM")[0].partition(" TO")[0].upper() for line in server.lines], codes


MESSAGE = ["MAIL", "RCPT", "DATA"]


def test_a_connection_serves_several_messages(servers: list[Server]) -> None:
    said, codes = relay(servers, messages=3)
    assert codes == [250, 250, 250]
    assert said[: 1 + 3 * 3 + 2] == ["EHLO US", *MESSAGE, "RSET", *MESSAGE, "RSET", *MESSAGE]


def test_a_connection_that_has_ended_is_replaced(servers: list[Server]) -> None:
    said, codes = relay(servers, messages=3, RSET="hang up")
    assert codes == [250, 250, 250]
    assert said[:9] == ["EHLO US", *MESSAGE, "RSET", "EHLO US", *MESSAGE]


def test_a_server_that_says_goodbye_is_called_again(servers: list[Server]) -> None:
    _, codes = relay(servers, messages=2, RSET="421 4.4.2 idle for too long")
    assert codes == [250, 250]


def test_a_refusal_does_not_end_the_connection(servers: list[Server]) -> None:
    said, codes = relay(servers, messages=2, RCPT="450 4.2.1 later")
    assert codes == [450, 450]
    assert said.count("EHLO US") == 1


def test_a_connection_is_not_used_for_ever(servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_connections, "MOST_MESSAGES", 2)
    said, codes = relay(servers, messages=5)
    assert codes == [250] * 5
    assert said.count("EHLO US") == 3


def test_an_idle_connection_ends(servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_connections, "IDLE_FOR", 0.05)
    server = Server({}, ["250 ok"])
    servers.append(server)
    courier = SmtpCourier(f"smtp://127.0.0.1:{server.port}", timeout=60)
    assert courier(request("a@x.org"))["a@x.org"].done
    assert server.ended.wait(60)
    assert server.lines[-1] == "quit"


@pytest.mark.parametrize("code", [500, 501, 502, 504])
def test_a_server_without_ehlo_is_greeted_with_helo(servers: list[Server], code: int) -> None:
    said, codes = relay(servers, EHLO=f"{code} what?")
    assert codes == [250]
    assert said[:5] == ["EHLO US", "HELO US", *MESSAGE]


def test_without_ehlo_there_is_no_tls(servers: list[Server]) -> None:
    said, codes = relay(servers, EHLO="502 what?", require_tls=True)
    assert codes == [451]
    assert said == ["EHLO US"]


@pytest.mark.parametrize("reply", ["454 4.7.0 no TLS now", "hang up"])
def test_where_tls_is_not_required_its_failure_is_no_obstacle(servers: list[Server], reply: str) -> None:
    said, codes = relay(servers, EHLO=TLS, STARTTLS=reply)
    assert codes == [250]
    assert said[:6] == ["EHLO US", "STARTTLS", "EHLO US", *MESSAGE]


@pytest.mark.parametrize("reply", ["454 4.7.0 no TLS now", "hang up"])
def test_where_tls_is_required_nothing_goes_in_the_clear(servers: list[Server], reply: str) -> None:
    said, codes = relay(servers, EHLO=TLS, STARTTLS=reply, require_tls=True)
    assert codes == [451]
    assert said == ["EHLO US", "STARTTLS"]


@pytest.mark.parametrize("length", [998, 999, 5000])
def test_lines_are_no_longer_than_smtp_allows(length: int) -> None:
    text = b"." + bytes(range(65, 91)) * 200
    sent = b"".join(dotted(io.BytesIO(text[:length] + b"\nend\n")))
    lines = sent.removesuffix(b"\r\n").split(b"\r\n")
    assert lines[0][:2] == b".."
    assert max(len(line) for line in [lines[0][1:], *lines[1:]]) <= 998
    assert all(line.startswith(b" ") for line in lines[1:-1])
    assert b"".join([lines[0][1:], *(line[1:] for line in lines[1:-1])]) == text[:length]
    assert lines[-1] == b"end"


def test_the_hostname_is_ours_in_ehlo_and_in_a_bounce_which_is_legible(
    servers: list[Server], spool: Path
) -> None:
    server = Server({"RCPT TO:<gone": "550 5.1.1 nobody here"}, ["250 ok"])
    servers.append(server)
    Queue(spool).put(b"Subject: the original\n\nbody\n", "s@x.org", ["gone@y.org"])
    words = ["--once", "--hostname", "mx.example", "--to", f"smtp://127.0.0.1:{server.port}"]
    assert main(["work", str(spool), *words]) == 0
    assert "ehlo mx.example" in server.lines
    for text in (b"<MAILER-DAEMON@mx.example>", b"<gone@y.org>: 5.1.1 nobody here", b"Subject: the original"):
        assert text in server.data
    assert str(spool).encode() not in server.data
