"""The body of a message on the wire (RFC 5321 4.1.1.4, 4.5.2).

SMTP smuggling works where servers disagree about the end of a message. Here exactly one sequence
ends it: CR LF ``.`` CR LF. A bare LF or a bare CR never does, nor does it end a line from which a
dot is removed: it is part of the text. A bare LF thus becomes an ordinary line end on disk, where
lines end with LF. A bare CR is kept. (Postfix calls this `normalize`.)

Lines may have any length and contain any byte, NUL included: a message that a relay before us has
accepted must not bounce here.
"""

from __future__ import annotations

_END = b"\r\n.\r\n"
_LINE_END = b"\r\n"  # a lone dot may be the very first line: it follows the CRLF of the DATA command

PIECE = 64 * 1024
"""Bytes that must have arrived before a part of a message is decoded."""


class DataDecoder:
    """Decodes one message from the buffer in which the client's bytes arrive.

    Args:
        buffer: begins with the first byte after the CRLF of the DATA command. Decoded bytes are
            removed from it. The bytes of a command after the message stay.
        piece: bytes that must have arrived before a part of the message is decoded.

    Attributes:
        ended: whether the end of the message was found.
        size: octets so far, as RFC 1870 counts them: without the final dot and added dots.
    """

    def __init__(self, buffer: bytearray, piece: int = PIECE) -> None:
        self._buffer = buffer
        self._piece = piece
        self._buffer[:0] = _LINE_END
        self._searched = 0
        self._to_skip = len(_LINE_END)
        self.ended = False
        self.size = 0

    def decode(self) -> bytes:
        """Take and decode the next part, with LF line ends; ``b""`` if more bytes must arrive first."""
        buffer = self._buffer
        end = buffer.find(_END, self._searched)
        if end >= 0:
            self.ended = True
            return self._take(end + len(_LINE_END), len(_END) - len(_LINE_END))
        if len(buffer) < self._piece:
            self._searched = max(0, len(buffer) - len(_END) + 1)
            return b""
        self._searched = 0
        return self._take(_safe_cut(buffer))

    def _take(self, end: int, drop: int = 0) -> bytes:
        if not end:
            return b""
        text = bytes(self._buffer[:end]).replace(b"\r\n.", b"\r\n")[self._to_skip :]
        del self._buffer[: end + drop]
        self._to_skip = 0
        self.size += len(text)
        return text.replace(b"\r\n", b"\n")


def _safe_cut(buffer: bytearray) -> int:
    """Where to cut the buffer without splitting a CRLF, a CRLF from its dot, or the end of the message."""
    cut = len(buffer) - len(_END)
    if buffer[cut - 1] == 0x0D:
        return cut - 1
    if buffer[cut - 2 : cut] == _LINE_END:
        return cut - 2
    return cut
