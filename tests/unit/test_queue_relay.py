"""The relay believes a reply only where it belongs: everything else is tried again, and the item stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.smtp import SmtpCourier
from tests.unit.test_queue_smtp import Server, request

OK = "250 2.0.0 queued"


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def ask(
    servers: list[Server], replies: dict[str, str], after: tuple[str, ...] = (OK,), scheme: str = "smtp"
) -> tuple[Server, dict[str, RecipientStatus]]:
    server = Server(replies, list(after))
    servers.append(server)
    return server, SmtpCourier(f"{scheme}://127.0.0.1:{server.port}", helo="us", timeout=60)(request())


def codes(statuses: dict[str, RecipientStatus]) -> set[int]:
    return {status.code for status in statuses.values()}


@pytest.mark.parametrize("go", ["250 ok", "200 ok", "220 me", "221 bye", "251 yes", "334 go", "355 go", "go"])
def test_only_354_means_go(servers: list[Server], go: str) -> None:
    """It caught items that were removed after a server had answered DATA with 250 and had taken no body."""
    server, statuses = ask(servers, {"DATA": go})
    assert codes(statuses) == {451}
    assert server.data == b""


@pytest.mark.parametrize(
    "end", ["220 me", "221 bye", "354 go", "334 x", "150 x", "650 x", "25", "what", "-1"]
)
def test_only_250_after_the_message_means_that_it_was_taken(servers: list[Server], end: str) -> None:
    assert codes(ask(servers, {}, (end,))[1]) == {451}


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
@pytest.mark.parametrize("reply", ["354 go", "220 me", "221 bye", "334 x", "hello", "250", "250-a\r\n550 b"])
def test_a_reply_of_the_wrong_class_is_no_answer(servers: list[Server], verb: str, reply: str) -> None:
    expected = {250} if reply == "250" else {451}
    assert codes(ask(servers, {verb: reply})[1]) == expected


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT TO:<a", "RCPT TO:<b", "DATA"])
@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
def test_a_reply_that_is_given_twice_is_counted_for_nobody(
    servers: list[Server], scheme: str, verb: str
) -> None:
    """It caught a second "250" for one recipient that was taken for the answer about the next."""
    verb = "LHLO" if (scheme, verb) == ("lmtp", "EHLO") else verb
    reply = {"DATA": "354 go", "EHLO": "250 me", "LHLO": "250 me"}.get(verb, "250 ok")
    _, statuses = ask(servers, {verb: f"{reply}\r\n{reply}"}, (OK, OK), scheme)
    assert codes(statuses) == {451}


@pytest.mark.parametrize("verb", ["MAIL", "RCPT TO:<a"])
def test_a_refusal_of_another_command_bounces_nothing(servers: list[Server], verb: str) -> None:
    _, statuses = ask(servers, {verb: "250 ok\r\n550 5.1.1 late"})
    assert codes(statuses) == {451}


def test_the_second_answer_about_one_recipient_is_not_the_next_ones(servers: list[Server]) -> None:
    """By LMTP b was refused for now, and must not be taken to have it."""
    _, statuses = ask(servers, {}, ("250 a has it", "250 a has it", "452 b is full"), "lmtp")
    assert statuses["b@x.org"].code == 451


@pytest.mark.parametrize("cut", ["250-2.0.0 queued", "250"])
def test_a_reply_that_is_cut_short_is_no_answer(servers: list[Server], cut: str) -> None:
    class Cut(Server):
        def _talk(self, stream: object) -> None:
            super()._talk(_Cutting(stream, f"{OK}\r\n".encode(), cut.encode()))  # type: ignore[arg-type]

    server = Cut({}, [OK])
    servers.append(server)
    statuses = SmtpCourier(f"smtp://127.0.0.1:{server.port}", timeout=60)(request())
    assert codes(statuses) == {451}


class _Cutting:
    """A stream that ends in the middle of one reply."""

    def __init__(self, stream: object, reply: bytes, cut: bytes) -> None:
        self._stream, self._reply, self._cut = stream, reply, cut

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> None:
        if data == self._reply:
            self._stream.write(self._cut)  # type: ignore[attr-defined]
            raise OSError("cut")
        self._stream.write(data)  # type: ignore[attr-defined]


def test_an_endless_reply_ends(servers: list[Server]) -> None:
    assert codes(ask(servers, {"MAIL": "250-x\r\n" * 5000 + "250 ok"})[1]) == {451}
    assert codes(ask(servers, {"MAIL": "250 " + "x" * 100_000})[1]) == {451}


def test_a_reply_is_one_line_that_steers_no_terminal(servers: list[Server]) -> None:
    _, statuses = ask(servers, {"MAIL": "550-5.7.1 no\x1b[2J\r\n550 go \x07away"})
    assert statuses["a@x.org"] == RecipientStatus(550, "5.7.1 no [2J go away")


def test_a_refusal_is_believed_of_a_server_that_hangs_up(servers: list[Server]) -> None:
    assert codes(ask(servers, {"MAIL": "550 5.7.1 no", "RSET": "hang up"})[1]) == {550}
