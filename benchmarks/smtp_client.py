"""The load client of the SMTP benchmark: the same for every server, one thread, connections kept.

It sends MAIL, RCPT and DATA in one write, as MTAs do to servers that say PIPELINING, and does so
to all that take it, whether they say it or not; OpenSMTPD refuses it. Each message is
different and its number is written down when its 250 has come, so that the store can be checked against
what was acknowledged.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

ENVELOPE = b"MAIL FROM:<bench@example.org>\r\nRCPT TO:<box@example.org>\r\nDATA\r\n"


@dataclass
class Load:
    """What a run came to.

    Attributes:
        seconds: from the first byte to the last answer.
        acknowledged: numbers of the messages that were answered with 250.
        refused: replies that were none of the expected, with the number of the message.
    """

    seconds: float = 0.0
    acknowledged: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)


def wire_form(message: bytes) -> bytes:
    """A message with LF line ends, none of them followed by a dot, as DATA carries it."""
    return message.replace(b"\n", b"\r\n") + b".\r\n"


def send(
    address: str,
    lmtp: bool,
    messages: Sequence[bytes],
    connections: int,
    load: Load | None = None,
    *,
    pipelined: bool = True,
) -> Load:
    """Send messages over so many connections, each with one message under way at a time.

    Args:
        address: ``HOST:PORT``, or a unix socket's path.
        lmtp: greet with LHLO instead of EHLO.
        messages: in the form of `wire_form`.
        connections: opened and greeted before the time runs.
        load: where the results are written down as they come; a new one by default.
        pipelined: False waits for each reply before the next command is sent.

    Raises:
        OSError: the server hung up. What was acknowledged until then is in `load`.
    """
    numbers = iter(range(len(messages)))
    load = Load() if load is None else load
    with selectors.DefaultSelector() as selector:
        commands = [ENVELOPE] if pipelined else ENVELOPE.splitlines(keepends=True)
        open_now = [_Connection(_greet(address, lmtp), messages, load, commands) for _ in range(connections)]
        start = time.perf_counter()
        for connection in open_now:
            selector.register(connection.sock, selectors.EVENT_READ, connection)
            connection.start(numbers)
        busy = sum(connection.busy for connection in open_now)
        while busy:
            for key, _ in selector.select():
                if not key.data.read(numbers):
                    selector.unregister(key.fileobj)
                    busy -= 1
        load.seconds = time.perf_counter() - start
        for connection in open_now:
            connection.sock.close()
    return load


def _greet(address: str, lmtp: bool) -> socket.socket:
    if "/" in address:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
    else:
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host, int(port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(60)
    _read_reply(sock)
    sock.sendall(b"LHLO client\r\n" if lmtp else b"EHLO client\r\n")
    _read_reply(sock)
    return sock


def _read_reply(sock: socket.socket) -> None:
    reply = b""
    while not (reply.endswith(b"\r\n") and reply[:-2].rpartition(b"\r\n")[2][3:4] == b" "):
        piece = sock.recv(4096)
        if not piece or reply[:1] in (b"4", b"5"):
            raise ConnectionError(f"no greeting: {reply!r}")
        reply += piece


class _Connection:
    """One connection: what it is sending, and which answers it waits for."""

    def __init__(
        self, sock: socket.socket, messages: Sequence[bytes], load: Load, commands: Sequence[bytes]
    ) -> None:
        self.sock = sock
        self.busy = False
        self._messages = messages
        self._load = load
        self._commands = commands
        self._number = -1
        self._received = b""
        self._expected: list[bytes] = []
        self._unsent: Iterator[bytes] = iter(())

    def start(self, numbers: Iterator[int]) -> bool:
        """Begin the next message; False if there is none left."""
        self._number = next(numbers, -1)
        self.busy = self._number >= 0
        if self.busy:
            self._expected = [b"250", b"250", b"354"]
            self._unsent = iter(self._commands)
            self.sock.sendall(next(self._unsent))
        return self.busy

    def read(self, numbers: Iterator[int]) -> bool:
        """Take what has come, and go on; False when this connection has no more to do."""
        piece = self.sock.recv(65536)
        if not piece:
            raise ConnectionError("the server hung up")
        *lines, self._received = (self._received + piece).split(b"\r\n")
        for line in lines:
            if line[:3] != self._expected.pop(0):
                self._load.refused.append((self._number, line.decode(errors="replace")))
                return False
            if self._expected:
                self.sock.sendall(next(self._unsent, b""))
                continue
            if line[:3] == b"354":
                self.sock.sendall(self._messages[self._number])
                self._expected = [b"250"]
            else:
                self._load.acknowledged.append(self._number)
                if not self.start(numbers):
                    return False
        return True
