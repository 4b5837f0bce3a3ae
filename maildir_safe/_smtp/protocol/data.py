"""The body of a message on the wire (RFC 5321 4.1.1.4, 4.5.2).

SMTP smuggling lives on servers that disagree about where a message ends. Here exactly one thing
ends it: CR LF ``.`` CR LF. Bare LF and bare CR never do, nor do they end a line that a dot is
taken off: they are part of the text. A bare LF thus becomes an ordinary line end on disk, where
lines end with LF; a bare CR stays as it is. (Postfix calls the same `normalize`.)

Lines may be of any length, and any byte may stand in them, NUL too: what a relay before us has
accepted must not bounce here.
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_END = b"\r\n.\r\n"


async def read_data(reader: asyncio.StreamReader, keep: Callable[[int], bool]) -> bytes | None:
    """Read up to the end of data, and no byte of a pipelined command behind it.

    Args:
        reader: at the first byte after the CRLF of the DATA command.
        keep: called with the number of bytes of each piece as it arrives; once it answers False
            the rest is read and thrown away, for the client must be heard out before it listens.

    Returns:
        The message as it is stored (dots taken off, CRLF turned into LF), or None if it was
        thrown away.

    Raises:
        asyncio.IncompleteReadError: the connection ended first. There is no message then.
    """
    # A lone dot may be the very first line; what ended the line before it is gone already.
    reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined]
    chunks: list[bytes] | None = []
    ended = False
    while not ended:
        try:
            piece = await reader.readuntil(_END)
            ended = True
        except asyncio.LimitOverrunError as overrun:
            piece = await reader.readexactly(overrun.consumed)
        if not keep(len(piece)):
            chunks = None
        if chunks is not None:
            chunks.append(piece)
    return None if chunks is None else _unwrap(b"".join(chunks))


def _unwrap(wire: bytes) -> bytes:
    """``\\r\\n`` + message + ``.\\r\\n``, as read, to the bytes that are stored."""
    return wire.replace(b"\r\n.", b"\r\n")[2:-2].replace(b"\r\n", b"\n")
