"""The relay to each domain's own servers, with a DNS server and mail servers on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from maildir_safe._cli.work import make_courier
from maildir_safe._queue.couriers import mx
from maildir_safe._queue.couriers.mx import MxCourier, NoServers
from tests.unit.test_queue_smtp import Server, request

ZONE: dict[str, Any] = {
    "one.example.": ["10 127.0.0.1."],
    "down.example.": ["20 127.0.0.1.", "10 127.0.0.9."],  # nobody listens at the better one
    "none.example.": ["0 ."],
    "us.example.": ["10 us.", "20 127.0.0.1."],
    "backup.example.": ["10 127.0.0.1.", "20 us."],
    "odd.example.": ["10 a\\032b.", "20 a/b."],
    "many.example.": [f"{n} mx{n}.example." for n in range(40)],
    "bare.example.": [],
    "loop.example.": ["0 127.0.0.1.", "5 localhost.", "10 0.0.0.0.", "20 169.254.169.254."],
    "both.example.": ["0 localhost.", "10 mx.example."],
    "circle.example.": "circle2.example.",
    "circle2.example.": "circle.example.",
    "thousands.example.": [f"{n} m{n}." for n in range(3000)],
    "m\xfc.example.".encode("idna").decode(): ["10 127.0.0.1."],
}


@pytest.fixture(scope="module")
def resolver() -> Iterator[dns.resolver.Resolver]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        threading.Thread(target=answer, args=(udp,), daemon=True).start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], udp.getsockname()[1]
        resolver.timeout = 120.0  # dnspython asks again after two seconds, and the answer may be long
        yield resolver


def answer(udp: socket.socket) -> None:
    while True:
        try:
            data, client = udp.recvfrom(4096)
        except OSError:
            return
        question = dns.message.from_wire(data)
        name = question.question[0].name.to_text().lower()
        if name == "silent.example.":
            continue
        reply = dns.message.make_response(question)
        if name not in ZONE:
            reply.set_rcode(dns.rcode.SERVFAIL if name.startswith("broken") else dns.rcode.NXDOMAIN)
        elif isinstance(ZONE[name], str):
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", ZONE[name]))
        elif ZONE[name]:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *ZONE[name]))
        udp.sendto(reply.to_wire(), client)


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of these tests are on this machine."""
    monkeypatch.setattr(mx, "is_of_this_machine", lambda _: False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server({"EHLO": "250-me\r\n250 SMTPUTF8"}, ["250 2.0.0 queued"])
    yield server
    server.close()


def courier(resolver: dns.resolver.Resolver, server: Server | None = None) -> MxCourier:
    return MxCourier("us", timeout=60, port=server.port if server else 25, resolver=resolver)


@pytest.mark.usefixtures("on_loopback")
@pytest.mark.parametrize(
    "domain", ["one.example", "down.example", "backup.example", "m\xfc.example", "[127.0.0.1]"]
)
def test_mail_goes_to_a_server_of_the_domain(
    resolver: dns.resolver.Resolver, server: Server, domain: str
) -> None:
    assert courier(resolver, server)(request(f"a@{domain}"))[f"a@{domain}"].done
    assert f"RCPT TO:<a@{domain}>" in server.lines


@pytest.mark.parametrize(
    ("domain", "code", "status"),
    [
        ("gone.example", 550, "5.1.2"),
        ("none.example", 556, "5.1.10"),
        ("us.example", 554, "5.4.6"),
        ("odd.example", 451, "4.4.4"),
        ("broken.example", 451, "4.4.3"),
        ("a..b", 451, "4.4.3"),
        ("[nonsense]", 550, "5.1.2"),
        ("[IPv6:::1%lo]", 550, "5.1.2"),
        ("circle.example", 451, "4.4.2"),
    ],
)
def test_why_there_is_no_server(resolver: dns.resolver.Resolver, domain: str, code: int, status: str) -> None:
    said = courier(resolver)(request(f"a@{domain}"))[f"a@{domain}"]
    assert (said.code, said.enhanced_code) == (code, status)


def test_a_domain_without_mx_is_its_own_server(resolver: dns.resolver.Resolver) -> None:
    assert courier(resolver).hosts("bare.example") == ["bare.example"]


def test_the_order_is_that_of_preference_and_the_number_is_limited(resolver: dns.resolver.Resolver) -> None:
    assert courier(resolver).hosts("many.example") == [f"mx{n}.example" for n in range(5)]


def test_a_silent_dns_server_is_temporary(
    resolver: dns.resolver.Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx, "_LOOKUP", 0.2)
    with pytest.raises(NoServers, match=r"4\.4\.3"):
        courier(resolver).hosts("silent.example")


@pytest.mark.usefixtures("on_loopback")
def test_each_domain_of_a_message_has_its_own_outcome(
    resolver: dns.resolver.Resolver, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the three hangs; the others have the message, and are reported, before it is given up."""
    monkeypatch.setattr(mx, "_DEADLINE", 1.0)
    monkeypatch.setattr(mx, "_LOOKUP", 20.0)
    statuses = courier(resolver, server)(request("a@one.example", "b@gone.example", "c@silent.example"))
    assert {who: status.code for who, status in statuses.items()} == {
        "a@one.example": 250, "b@gone.example": 550, "c@silent.example": 451,
    }  # fmt: skip
    assert statuses["c@silent.example"].enhanced_code == "4.4.1"  # not 4.4.3, the end of the look-up


def test_the_command_has_it() -> None:
    assert isinstance(make_courier("mx:"), MxCourier)


# What a stranger's DNS says


@pytest.mark.parametrize(
    "domain",
    ["loop.example", "[127.0.0.1]", "[127.9.9.9]", "[0.0.0.0]", "[IPv6:::1]", "[IPv6:::ffff:127.0.0.1]",
     "[IPv6:::]", "[169.254.169.254]", "[IPv6:fe80::1]", "[224.0.0.1]"],
)  # fmt: skip
def test_a_stranger_cannot_reach_what_listens_on_this_machine(
    resolver: dns.resolver.Resolver, server: Server, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    connected: list[object] = []
    monkeypatch.setattr(mx.socket, "create_connection", lambda *what: connected.append(what))
    said = courier(resolver, server)(request(f"a@{domain}"))[f"a@{domain}"]
    assert (said.code, said.enhanced_code) == (554, "5.4.6")
    assert connected == []


def test_another_server_of_the_domain_is_tried_then(
    resolver: dns.resolver.Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mx.example has ten addresses that do not answer: five are tried, half a minute each."""
    tried: list[tuple[str, float]] = []
    real = socket.getaddrinfo

    def resolve(host: str, *how: Any, **more: Any) -> Any:
        if host != "mx.example":
            return real(host, *how, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{n}", 25)) for n in range(10)]

    def connect(target: tuple[str, int], timeout: float) -> socket.socket:
        tried.append((target[0], timeout))
        raise TimeoutError("timed out")

    monkeypatch.setattr(mx.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(mx.socket, "create_connection", connect)
    said = MxCourier("us", resolver=resolver)(request("a@both.example"))["a@both.example"]
    assert (said.code, said.enhanced_code) == (451, "4.4.2")
    assert tried == [(f"192.0.2.{n}", 30.0) for n in range(5)]


def test_thousands_of_servers_are_five(
    resolver: dns.resolver.Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx, "_LOOKUP", 120.0)  # such an answer takes a busy machine seconds
    assert courier(resolver).hosts("thousands.example") == [f"m{n}" for n in range(5)]
