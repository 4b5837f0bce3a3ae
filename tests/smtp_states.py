"""Every state that a client can bring a connection into, and every way in which it can then end it."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from smtp_support import Wire

CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01"


def greeted(wire: Wire) -> None:
    wire.ask("EHLO x")


def in_transaction(wire: Wire) -> None:
    greeted(wire)
    wire.ask("MAIL FROM:<a@b>")


def in_auth(wire: Wire) -> None:
    greeted(wire)
    assert wire.ask("AUTH LOGIN").startswith("334")


def in_data(wire: Wire) -> None:
    wire.ready_for_data()
    wire.send(b"Subject: half\r\n" + b"x" * 200_000)


def in_a_command(wire: Wire) -> None:
    greeted(wire)
    wire.send(b"MAIL FROM:<a")


def reads_nothing(wire: Wire) -> None:
    greeted(wire)
    wire.sock.settimeout(0.3)
    with contextlib.suppress(OSError):
        while True:
            wire.send(b"RSET\r\n" * 1000)


def quitting(wire: Wire) -> None:
    greeted(wire)
    wire.send(b"QUIT\r\n")


def in_handshake(wire: Wire) -> None:
    greeted(wire)
    assert wire.ask("STARTTLS").startswith("220")


def in_half_a_handshake(wire: Wire) -> None:
    in_handshake(wire)
    wire.send(CLIENT_HELLO)


def _tls(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def encrypted(wire: Wire) -> None:
    in_handshake(wire)
    tls = _tls(wire.sock)
    tls.sendall(b"EHLO x\r\n")
    assert tls.recv(1000).startswith(b"250")
    wire.sock = tls


def encrypted_in_data(wire: Wire) -> None:
    encrypted(wire)
    wire.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    said = b""
    while b"354" not in said:
        said += wire.sock.recv(1000)
    wire.send(b"Subject: half\r\n")


def nothing(wire: Wire) -> None:
    """Connected, and silent."""


def in_auth_with_a_password(wire: Wire) -> None:
    in_auth(wire)
    assert wire.ask(base64.b64encode(b"ann")).startswith("334")
    wire.send(b"c2Vj")


def in_plain_auth(wire: Wire) -> None:
    greeted(wire)
    assert wire.ask("AUTH PLAIN").startswith("334")


def ready_for_data(wire: Wire) -> None:
    wire.ready_for_data()


def before_the_final_dot(wire: Wire) -> None:
    wire.ready_for_data()
    wire.send(b"Subject: x\r\n\r\ntext\r\n.")


def in_a_chunk(wire: Wire) -> None:
    in_transaction(wire)
    wire.ask("RCPT TO:<c@d>")
    wire.send(b"BDAT 1000000\r\nSubject: half\r\n" + b"x" * 200_000)


def between_chunks(wire: Wire) -> None:
    in_transaction(wire)
    wire.ask("RCPT TO:<c@d>")
    assert wire.ask("BDAT 13\r\nSubject: half").startswith("250")


def in_a_refused_chunk(wire: Wire) -> None:
    wire.send(b"BDAT 99999999999999999999\r\n" + b"x" * 200_000)


def in_a_line_without_end(wire: Wire) -> None:
    wire.send(b"x" * 100_000)


STATES: list[Callable[[Wire], None]] = [
    nothing, greeted, in_transaction, in_auth, in_auth_with_a_password, in_plain_auth, ready_for_data,
    in_data, before_the_final_dot, in_a_chunk, between_chunks, in_a_refused_chunk, in_a_command,
    in_a_line_without_end, reads_nothing, quitting, in_handshake, in_half_a_handshake, encrypted,
    encrypted_in_data,
]  # fmt: skip
"""Of a connection to a server with STARTTLS, AUTH and CHUNKING."""


def in_half_a_first_handshake(wire: Wire) -> None:
    wire.send(CLIENT_HELLO)


def encrypted_from_the_start(wire: Wire) -> None:
    wire.sock = _tls(wire.sock)
    assert wire.sock.recv(1000).startswith(b"220")


TLS_STATES: list[Callable[[Wire], None]] = [nothing, in_half_a_first_handshake, encrypted_from_the_start]
"""Of a connection that begins with TLS, when nothing was said yet."""


def in_half_a_header(wire: Wire) -> None:
    wire.send(b"PROXY TCP4 192.0.2.1 ")


def in_half_a_binary_header(wire: Wire) -> None:
    wire.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\x00")


def behind_a_proxy(wire: Wire) -> None:
    wire.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n")
    assert wire.reply().startswith("220")
    wire.ask("EHLO x")


PROXY_STATES: list[Callable[[Wire], None]] = [
    nothing, in_half_a_header, in_half_a_binary_header, behind_a_proxy,
]  # fmt: skip
"""Of a connection from a load balancer, when nothing was said yet."""


def close(wire: Wire) -> None:
    wire.close()


def reset(wire: Wire) -> None:
    with contextlib.suppress(OSError):
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def half_close(wire: Wire) -> None:
    with contextlib.suppress(OSError):
        wire.sock.shutdown(socket.SHUT_WR)


def stall(wire: Wire) -> None:
    """Do nothing more: the time-out ends it."""


ENDS: list[tuple[Callable[[Wire], None], float]] = [
    (close, 300),
    (reset, 300),
    (half_close, 300),
    (stall, 1.5),
]
"""Each with the server's time-out in seconds."""
