"""Every way in which a connection can end, in every state that it can be in, gives its place back."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smtp_states import (
    CLIENT_HELLO,
    ENDS,
    PROXY_STATES,
    STATES,
    TLS_STATES,
    behind_a_proxy,
    close,
    half_close,
    reads_nothing,
)
from smtp_support import Wire, serving, stored, until

from maildir_safe._smtp.server import connection, proxies
from maildir_safe._smtp.server.background import BackgroundServer

End = tuple[Callable[[Wire], None], float]


class Silent(Wire):
    """A connection on which the server says nothing first."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=20)
        self._file = self.sock.makefile("rb")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.2)


@contextlib.contextmanager
def nothing_left(server: BackgroundServer, maildir: Path) -> Iterator[None]:
    yield
    until(lambda: server.service.budget.connections == 0)
    assert server.service.budget.in_flight == 0
    assert " error " not in server.text.getvalue()  # type: ignore[attr-defined]
    assert stored(maildir) == []


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end[0].__name__)
def test_however_a_connection_ends_its_place_is_free_again(tmp_path: Path, end: End) -> None:
    with serving(tmp_path, tls="made", timeout=end[1]) as server, nothing_left(server, tmp_path / "M"):
        wires = [Wire(server.service.smtp_addresses[0]) for _ in STATES]
        for reach, wire in zip(STATES, wires, strict=True):
            reach(wire)
        for reach, wire in zip(STATES, wires, strict=True):
            # a client that does not read cannot be seen to have half closed: the time-out's business
            (close if reach is reads_nothing and end[0] is half_close else end[0])(wire)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end[0].__name__)
def test_a_connection_in_tls_from_the_start(tmp_path: Path, end: End) -> None:
    with (
        serving(tmp_path, tls="made", smtps=["127.0.0.1:0"], timeout=end[1]) as server,
        nothing_left(server, tmp_path / "M"),
    ):
        wires = [Silent(server.service.smtps_addresses[0]) for _ in TLS_STATES]
        for reach, wire in zip(TLS_STATES, wires, strict=True):
            reach(wire)
        for wire in wires:
            end[0](wire)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end[0].__name__)
def test_a_connection_from_a_load_balancer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: End) -> None:
    monkeypatch.setattr(proxies, "HEADER_TIMEOUT", min(end[1], 20.0))
    with (
        serving(tmp_path, proxy_from=["127.0.0.1"], timeout=end[1]) as server,
        nothing_left(server, tmp_path / "M"),
    ):
        wires = [Silent(server.service.smtp_addresses[0]) for _ in PROXY_STATES]
        for reach, wire in zip(PROXY_STATES, wires, strict=True):
            reach(wire)
        assert reach is behind_a_proxy
        for wire in wires:
            end[0](wire)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end[0].__name__)
def test_an_lmtp_connection(tmp_path: Path, end: End) -> None:
    socket_path = str(tmp_path / "lmtp")
    with (
        serving(tmp_path, lmtp=[socket_path], timeout=end[1]) as server,
        nothing_left(server, tmp_path / "M"),
    ):
        wires = [Wire(socket_path) for _ in range(3)]
        for wire in wires[1:]:
            wire.ask("LHLO x")
            wire.ask("MAIL FROM:<a@b>")
            wire.ask("RCPT TO:<c@d>")
        wires[1].ask("DATA")
        wires[2].send(b"BDAT 1000\r\nhalf")
        for wire in wires:
            end[0](wire)


@pytest.mark.parametrize("said", [b"", CLIENT_HELLO])
def test_one_too_many_in_tls_hears_no_clear_text(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path, tls="made", smtps=["127.0.0.1:0"], max_connections=1) as server:
        wire = Wire(server.service.smtp_addresses[0])
        other = Silent(server.service.smtps_addresses[0])
        heard = b""
        with contextlib.suppress(ConnectionError):
            other.send(said)
            heard = other.sock.recv(1000)
        assert heard == b""
        assert wire.ask("NOOP").startswith("250")


def test_stopping_says_no_clear_text_into_a_handshake(tmp_path: Path) -> None:
    with serving(tmp_path, tls="made", smtps=["127.0.0.1:0"], grace=3600) as server:
        waiting = [Silent(server.service.smtps_addresses[0]) for _ in range(5)]
        waiting[0].send(CLIENT_HELLO)
        server.stop()
        server.stop = lambda: None  # type: ignore[method-assign]
    for wire in waiting:
        heard = b""
        with contextlib.suppress(ConnectionError):
            heard = wire.sock.recv(1000)
        assert heard == b""
