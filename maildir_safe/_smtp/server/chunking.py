"""CHUNKING (RFC 3030): BDAT, by which a client announces how many bytes of the message follow.

The bytes of a chunk follow the command line directly, whatever the reply is going to be. So they are read
even if the command is refused, or else they would be executed as commands; and after a BDAT whose size
cannot be read the connection is closed. A chunk has no dots to remove. CR LF becomes LF as with DATA, also
where it lies across two chunks.

With BODY=BINARYMIME the message is not lines of text: it is stored as it came, CR LF and all. So its own
header has CR LF on disk, below our lines with LF; readers of Maildirs take both. It is offered where every
message goes into a Maildir. A queue may have to relay it by DATA, which could not carry it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maildir_safe._smtp.protocol.data import PIECE
from maildir_safe._smtp.protocol.extension import Extension

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maildir_safe._smtp.server.connection import Connection
    from maildir_safe._smtp.server.limits import MemoryReservation

_DIGITS = 20

CHUNKING = Extension(lambda offer: "CHUNKING")  # noqa: ARG005


def parse_bdat(argument: str) -> tuple[int, bool] | None:
    """The size of the chunk, and whether it is the last; None if the argument is malformed."""
    size, _, rest = argument.partition(" ")
    last = rest.strip().upper()
    if not (size.isascii() and size.isdigit()) or len(size) > _DIGITS or last not in ("", "LAST"):
        return None
    return int(size), bool(last)


class Chunks:
    """The part of a message that has arrived in chunks.

    Args:
        reservation: counts the bytes, and says when there are too many.
        binary: whether to keep CR LF.

    Attributes:
        reservation: as given. It is released by `close`, unless `take` has handed it on.
        start: when the first chunk began, by the monotonic clock.
        failed: whether a chunk was refused: no other is taken then.
    """

    def __init__(self, reservation: MemoryReservation, binary: bool = False) -> None:
        self.reservation, self.failed = reservation, False
        self._binary = binary
        self.start = time.monotonic()
        self._pieces: list[bytes] = []
        self._tail = bytearray()  # many small chunks must not cost an object each
        self._since = 0

    async def read(self, connection: Connection, size: int) -> None:
        """Read a chunk. What is too much is read and dropped."""
        async for piece in incoming(connection, size):
            if self.reservation.add(len(piece)):
                self._add(piece)
            else:
                self._drop()
            self._since += len(piece)
            if self._since >= PIECE:  # as with DATA: a client must send so much within each time-out
                self._since = 0
                connection.restart_timer()

    def _add(self, piece: bytes) -> None:
        self._tail += piece
        if len(self._tail) >= PIECE:
            cut = len(self._tail) - self._tail.endswith(b"\r")  # its LF may be in the next chunk
            self._pieces.append(self._as_stored(self._tail[:cut]))
            del self._tail[:cut]

    def _as_stored(self, data: bytearray) -> bytes:
        return bytes(data) if self._binary else bytes(data).replace(b"\r\n", b"\n")

    def _drop(self) -> None:
        self._pieces, self._tail = [], bytearray()

    def take(self) -> list[bytes]:
        """The message as it is stored. The caller then owns it and the reservation."""
        if self._tail:
            self._pieces.append(self._as_stored(self._tail))
        pieces, self._pieces, self._tail = self._pieces, [], bytearray()
        return pieces

    def close(self) -> None:
        """The transaction has ended without the message."""
        self._drop()
        self.reservation.release()


async def incoming(connection: Connection, size: int) -> AsyncIterator[bytes]:
    """Yield the next `size` bytes as they arrive. Raises `EndOfInput`."""
    source, left = connection.input, size
    while left:
        if not source.data:
            await source.more()
            continue
        piece = bytes(source.data[:left])
        del source.data[: len(piece)]
        source.taken()
        left -= len(piece)
        yield piece


async def skip(connection: Connection, size: int) -> None:
    """Read the bytes of a chunk that was refused. Raises `EndOfInput`."""
    since = 0
    async for piece in incoming(connection, size):
        since += len(piece)
        if since >= PIECE:
            since = 0
            connection.restart_timer()
