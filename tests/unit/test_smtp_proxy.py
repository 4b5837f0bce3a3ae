"""The PROXY protocol: who may name a client, and where the client's address then counts."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtp_support import Wire, hung_up, serving, stored, until

from maildir_safe._smtp.protocol.proxy import MAX_V1, MAX_V2, SIGNATURE, NotAProxyHeader, parse
from maildir_safe._smtp.server import proxies
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.proxies import Proxies
from maildir_safe._smtp.server.service import Service
from maildir_safe._smtp.server.settings import Settings

V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 25\r\n"
V1_6 = b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 25\r\n"
FULL = b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n"
TLV = b"\x05\x00\x04name"


def v2(command: int, family: int, addresses: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, length or len(addresses)) + addresses


def tcp(client: str, *, command: int = 0x21, more: bytes = b"") -> bytes:
    kind, family = (socket.AF_INET6, 0x21) if ":" in client else (socket.AF_INET, 0x11)
    packed = socket.inet_pton(kind, client)
    return v2(command, family, packed * 2 + struct.pack("!HH", 4711, 25) + more)


GOOD = {
    V1: "203.0.113.9",
    V1_6: "2001:db8::9",
    FULL: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    b"PROXY UNKNOWN\r\n": "",
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n": "",
    tcp("203.0.113.9"): "203.0.113.9",
    tcp("2001:db8::9", more=TLV): "2001:db8::9",
    tcp("203.0.113.9", command=0x20): "",  # LOCAL: the proxy's own check, whatever follows
    v2(0x20, 0x00, b""): "",
    v2(0x21, 0x00, TLV): "",
    v2(0x21, 0x31, b"/run/client\0".ljust(216, b"\0")): "",
}
BAD = [
    b"EHLO client.example\r\n",
    b"\r\n\r\n\0\r\nQUIX",
    b"proxy TCP4 203.0.113.9 192.0.2.1 4711 25\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 2001:db8::9 192.0.2.1 4711 25\r\n",
    b"PROXY TCP4 203.0.113.999 192.0.2.1 4711 25\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 99999 25\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 -1 25\r\n",
    b"PROXY TCP4  203.0.113.9 192.0.2.1 4711 25\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 25 more\r\n",
    b"PROXY TCP6 fe80::1%e\x1b[2J fe80::2 4711 25\r\n",
    b"PROXY UDP4 203.0.113.9 192.0.2.1 4711 25\r\n",
    b"PROXY TCP4 " + b"x" * MAX_V1,
    b"PROXY UNKNOWN " + b"x" * MAX_V1 + b"\r\n",
    v2(0x11, 0x11, b"x" * 12),  # version 1 in the binary form
    v2(0x22, 0x11, b"x" * 12),  # no such command
    v2(0x21, 0x12, b"x" * 12),  # UDP
    v2(0x21, 0x11, b"x" * 11),
    v2(0x21, 0x21, b"x" * 35),
    v2(0x21, 0x11, b"", length=MAX_V2),
    v2(0x20, 0x00, b"", length=65535),
]


@pytest.mark.parametrize("header", GOOD)
def test_a_header_is_parsed_byte_by_byte_and_nothing_after_it_is_read(header: bytes) -> None:
    for size in range(len(header)):
        assert parse(header[:size]) is None, header[:size]
    assert parse(header + b"EHLO x\r\n") == (len(header), GOOD[header])


@pytest.mark.parametrize("header", BAD)
def test_anything_else_is_refused(header: bytes) -> None:
    with pytest.raises(NotAProxyHeader):
        parse(header)


def test_which_peers_are_proxies() -> None:
    found = Proxies(["192.0.2.0/24", "2001:db8::/32"])
    listed = [peer for peer in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "192.0.3.1", "fe80::1%lo", "")
              if peer in found]  # fmt: skip
    assert listed == ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"]
    assert "192.0.2.7" not in Proxies()


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[BackgroundServer]:
    """Behind a load balancer on this machine: SMTP and LMTP."""
    with serving(tmp_path, proxy_from=["127.0.0.0/8"], lmtp=["127.0.0.1:0"], max_connections=20,
                 max_connections_per_address=1) as server:  # fmt: skip
        yield server


class Proxied(Wire):
    """A connection that begins with these bytes."""

    def __init__(self, address: str, header: bytes, greeting: str = "220") -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=20)
        self.sock.sendall(header)
        self._file = self.sock.makefile("rb")
        self.banner = self.reply()
        assert self.banner.startswith(greeting), self.banner


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (V1, "203.0.113.9"),
        (tcp("2001:db8::9", more=TLV), "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (v2(0x20, 0, b""), "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("kind", ["smtp", "lmtp"])
def test_the_clients_address_is_in_received_and_in_the_log(
    behind: BackgroundServer, tmp_path: Path, header: bytes, shown: str, kind: str
) -> None:
    wire = Proxied(getattr(behind.service, f"{kind}_addresses")[0], header)
    assert wire.ask("LHLO c" if kind == "lmtp" else "EHLO c").startswith("250")
    for command in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
        assert wire.ask(command).startswith("250")
    assert wire.ask("DATA").startswith("354")
    assert wire.ask("Subject: x\r\n\r\n.").startswith("250")
    wire.close()
    (message,) = stored(tmp_path / "M")
    literal = f"[IPv6:{shown}]" if ":" in shown else f"[{shown}]"
    assert literal.encode() in message
    assert shown in behind.text.getvalue()  # type: ignore[attr-defined]


def test_the_limit_per_address_is_the_clients(behind: BackgroundServer) -> None:
    at = behind.service.smtp_addresses[0]
    first = Proxied(at, V1)
    Proxied(at, tcp("203.0.113.9"), greeting="421 4.7.0 Too many").close()
    other = Proxied(at, tcp("203.0.113.10"))
    checks = [Proxied(at, v2(0x20, 0, b"")) for _ in range(3)]  # the proxy's own are this machine's
    for wire in (first, other, *checks):
        wire.close()
    until(lambda: behind.service.budget.connections == 0)
    Proxied(at, V1).close()


@pytest.mark.parametrize("header", [b"EHLO c\r\n", b"PROXY TCP4 x\r\n", v2(0x21, 0x12, b"x" * 12)])
def test_a_proxy_must_send_a_header(behind: BackgroundServer, header: bytes) -> None:
    wire = Proxied(behind.service.smtp_addresses[0], header, greeting="421 4.7.0 A PROXY header is required")
    assert hung_up(wire)
    wire.close()
    assert "127.0.0.1" in behind.text.getvalue()  # type: ignore[attr-defined]
    until(lambda: behind.service.budget.connections == 0)


def test_a_proxy_that_says_nothing_is_refused(
    behind: BackgroundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "HEADER_TIMEOUT", 0.3)
    for said in (b"", b"PRO", SIGNATURE):
        Proxied(behind.service.smtp_addresses[0], said, greeting="421 4.7.0 A PROXY").close()


@pytest.mark.parametrize("listed", [[], ["192.0.2.1"]])
@pytest.mark.parametrize("header", [V1, b"PROXY UNKNOWN\r\n", tcp("203.0.113.9")])
def test_a_header_from_anyone_else_is_refused(tmp_path: Path, listed: list[str], header: bytes) -> None:
    with serving(tmp_path, proxy_from=listed) as server:
        wire = Proxied(server.service.smtp_addresses[0], header + b"EHLO c\r\nMAIL FROM:<a@b>\r\n")
        answers = []
        while line := wire.reply():
            answers.append(line[:3])
        wire.close()
    assert answers[-1] == "421"
    assert set(answers) <= {"421", "500"}  # no command after the header is executed


def test_a_proxy_on_this_machine_opens_the_relay_to_others(tmp_path: Path) -> None:
    settings = Settings(queue=str(tmp_path / "S"), smtp=["127.0.0.1:0"], proxy_from=["127.0.0.1"])
    with pytest.raises(ValueError, match="an open relay"):
        Service(settings)


def test_a_malformed_network_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"192\.0\.2\.1/24"):
        Service(Settings(maildir=str(tmp_path / "M"), smtp=["127.0.0.1:0"], proxy_from=["192.0.2.1/24"]))
