"""The SMTP and LMTP courier against scripted servers on loopback, down to the bytes on the wire."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from maildir_safe._delivery.status import RecipientStatus
from maildir_safe._queue.couriers.courier import DeliveryRequest
from maildir_safe._queue.couriers.smtp import SmtpCourier, dotted
from maildir_safe.errors import LeaseLost

MESSAGE = b"Subject: x\n\n.dot\nlast"


class Server:
    """Answers line by line from a table; the longest beginning that fits wins. After DATA: `after`."""

    def __init__(self, replies: dict[str, str], after: list[str], path: str | None = None) -> None:
        self.replies = {"": "250 ok", "EHLO": "250-me\r\n250 8BITMIME", "LHLO": "250-me\r\n250 8BITMIME",
                        "DATA": "354 go", "QUIT": "221 bye", **replies}  # fmt: skip
        self.after = after
        self.lines: list[str] = []
        self.data = b""
        self.ended = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._socket.bind(path or ("127.0.0.1", 0))
        self._socket.listen()
        self.port = 0 if path else self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as stream:
                try:
                    self._talk(stream)
                except OSError:
                    pass
                self.ended.set()

    def _talk(self, stream: socket.SocketIO) -> None:
        reader = io.BufferedReader(stream)
        stream.write(f"{self.replies.get('greeting', '220 me')}\r\n".encode())
        for raw in reader:
            line = raw.decode().rstrip("\r\n")
            self.lines.append(line)
            reply = self.replies[
                max((k for k in self.replies if line.upper().startswith(k.upper())), key=len)
            ]
            if reply == "hang up":
                return
            stream.write(f"{reply}\r\n".encode())
            if line == "DATA" and reply.startswith("354"):
                for data in reader:
                    if data == b".\r\n":
                        break
                    self.data += data
                else:
                    return
                for after in self.after:
                    if after == "hang up":
                        return
                    stream.write(f"{after}\r\n".encode())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def ask(
    servers: list[Server],
    scheme: str = "smtp",
    after: tuple[str, ...] = ("250 2.0.0 queued",),
    **replies: str,
) -> tuple[Server, dict[str, RecipientStatus]]:
    server = Server({key.replace("_", " "): reply for key, reply in replies.items()}, list(after))
    servers.append(server)
    courier = SmtpCourier(f"{scheme}://127.0.0.1:{server.port}", helo="us", timeout=60)
    statuses = courier(request())
    courier.close()
    return server, statuses


def request(*recipients: str, confirm: object = lambda: None) -> DeliveryRequest:
    return DeliveryRequest(
        "id",
        "s@x.org",
        recipients or ("a@x.org", "b@x.org"),
        lambda: io.BytesIO(MESSAGE),
        confirm,  # type: ignore[arg-type]
    )


def test_the_whole_dialogue(servers: list[Server]) -> None:
    server, statuses = ask(servers)
    assert statuses == dict.fromkeys(("a@x.org", "b@x.org"), RecipientStatus(250, "2.0.0 queued"))
    server.ended.wait(60)
    greeting, *envelope, farewell = server.lines
    assert (greeting, farewell) == ("ehlo us", "quit")
    assert envelope == ["MAIL FROM:<s@x.org> BODY=8BITMIME", "RCPT TO:<a@x.org>", "RCPT TO:<b@x.org>", "DATA"]
    assert server.data == b"Subject: x\r\n\r\n..dot\r\nlast\r\n"


def test_lmtp_has_an_answer_for_each_recipient(servers: list[Server]) -> None:
    _, statuses = ask(servers, "lmtp", after=("250 2.1.5 a has it", "452 4.2.2 b is full"))
    assert statuses == {
        "a@x.org": RecipientStatus(250, "2.1.5 a has it"),
        "b@x.org": RecipientStatus(452, "4.2.2 b is full"),
    }


def test_lmtp_that_ends_between_answers_leaves_only_the_others_open(servers: list[Server]) -> None:
    _, statuses = ask(servers, "lmtp", after=("250 2.1.5 a has it", "hang up"))
    assert statuses["a@x.org"].done
    assert statuses["b@x.org"].code == 451


def test_lmtp_over_a_unix_socket(servers: list[Server], tmp_path: Path) -> None:
    servers.append(Server({}, ["250 ok", "250 ok"], str(tmp_path / "lmtp")))
    statuses = SmtpCourier(f"lmtp:{tmp_path}/lmtp", timeout=60)(request())
    assert [status.code for status in statuses.values()] == [250, 250]


def test_who_is_refused_at_rcpt_is_not_sent_to(servers: list[Server]) -> None:
    server, statuses = ask(servers, RCPT_TO_="250 ok", **{"RCPT TO:<a": "550 5.1.1 nobody"})
    assert statuses == {
        "a@x.org": RecipientStatus(550, "5.1.1 nobody"),
        "b@x.org": RecipientStatus(250, "2.0.0 queued"),
    }
    assert server.data


def test_nothing_is_sent_when_all_are_refused(servers: list[Server]) -> None:
    server, statuses = ask(servers, RCPT="450 4.2.0 later")
    assert {status.code for status in statuses.values()} == {450}
    assert "DATA" not in server.lines


@pytest.mark.parametrize(
    ("replies", "after", "code"),
    [
        ({"MAIL": "550 5.7.1 no"}, (), 550),
        ({"DATA": "451 4.3.0 later"}, (), 451),
        ({}, ("554 5.6.0 no",), 554),
        ({}, ("hang up",), 451),
        ({"MAIL": "hang up"}, (), 451),
        ({"greeting": "554 no service"}, (), 451),
        ({"EHLO": "550 who are you"}, (), 451),
    ],
)
def test_what_the_server_says_about_all(
    servers: list[Server], replies: dict[str, str], after: tuple[str, ...], code: int
) -> None:
    _, statuses = ask(servers, after=after, **replies)
    assert {status.code for status in statuses.values()} == {code}


def test_nobody_listening_is_a_temporary_failure() -> None:
    unused = socket.socket()
    unused.bind(("127.0.0.1", 0))
    statuses = SmtpCourier(f"smtp://127.0.0.1:{unused.getsockname()[1]}", timeout=60)(request())
    assert {status.code for status in statuses.values()} == {451}


def test_the_last_dot_is_not_sent_when_the_lease_is_lost(servers: list[Server]) -> None:
    def lost() -> None:
        raise LeaseLost("fenced")

    server = Server({}, ["250 ok"])
    servers.append(server)
    courier = SmtpCourier(f"smtp://127.0.0.1:{server.port}", timeout=60)
    with pytest.raises(LeaseLost):
        courier(request(confirm=lost))
    assert "." not in server.lines


def test_a_password_is_never_sent_in_the_clear(servers: list[Server]) -> None:
    server = Server({"EHLO": "250-me\r\n250 AUTH PLAIN LOGIN"}, [])
    servers.append(server)
    statuses = SmtpCourier(f"smtp://user:secret@127.0.0.1:{server.port}", timeout=60)(request())
    assert {status.code for status in statuses.values()} == {451}
    assert not any("AUTH" in line.upper() for line in server.lines)


def test_addresses_beyond_ascii_need_a_server_that_takes_them(servers: list[Server]) -> None:
    for extension, code in (("8BITMIME", 553), ("SMTPUTF8", 250)):
        server = Server({"EHLO": f"250-me\r\n250 {extension}"}, ["250 ok"])
        servers.append(server)
        statuses = SmtpCourier(f"smtp://127.0.0.1:{server.port}", timeout=60)(request("jürgen@x.org"))
        assert [status.code for status in statuses.values()] == [code]


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (b"", b""), (b"a\n", b"a\r\n"), (b"a\r\nb", b"a\r\nb\r\n"), (b".\n", b"..\r\n"),
        (b"\n.\n", b"\r\n..\r\n"),
        (b"a\r.\rb\n", b"a\r\n..\r\nb\r\n"), (b"..\n", b"...\r\n"), (b"a\r\r\n", b"a\r\n\r\n"),
    ],
)  # fmt: skip
def test_a_dot_never_ends_a_message_early(stored: bytes, sent: bytes) -> None:
    assert b"".join(dotted(io.BytesIO(stored))) == sent
    assert b"".join(dotted(Drip(stored))) == sent


class Drip(io.BytesIO):
    """A file of which each read returns one byte, and that has no lines."""

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 < size <= 1 << 20
        return super().read(1)

    def __next__(self) -> bytes:
        raise AssertionError("a line may be as long as the message")


@pytest.mark.parametrize("url", ["http://x", "smtp:", "lmtp:", "x", "smtp://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="smtp://host:port"):
        SmtpCourier(url)
